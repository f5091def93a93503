// What a page shows first is drawn first. Everything here is about speed: without it, all works as well.
(() => {
    "use strict";

    // Streamlit loads its parts for charts and tables when the first of them has arrived, and what each of them needs
    // when it has come. Ours (page_shell.py) are fetched at once, and made ready while the server works on the page.
    // One that cannot be had now, Streamlit asks for again.
    const named = (name) => document.querySelector(`meta[name=${name}]`).content.split(" ").filter(Boolean);
    const fetchModule = (href) => {
        document.head.append(Object.assign(document.createElement("link"), { rel: "modulepreload", crossOrigin: "", href }));
    };
    document.addEventListener("DOMContentLoaded", () => named("fetched").forEach(fetchModule));
    let ready = false;
    const makeReady = () => {
        if (ready) return;
        ready = true;
        named("soon").forEach((module) => { import(module).catch(() => {}); });
    };

    // When the first chart has arrived, what came after it waits until that chart is drawn, and no longer than this:
    // React would draw all of the page before it. In a tab that is not looked at, nothing is drawn and nothing waits.
    const LONGEST = 5_000;  // ms
    const hasChart = (data) => new TextDecoder("latin1").decode(data).includes('"encoding"');
    const isDrawn = () => [...document.querySelectorAll("[data-testid=stVegaLiteChart] :is(canvas, svg)")]
        .some((picture) => picture.getBoundingClientRect().height > 0);
    const inTurn = (handle) => {
        const waiting = [];
        let held = false;
        const pass = () => {
            while (waiting.length && !held) {
                const event = waiting.shift();
                held = !document.hidden && event.data.byteLength > 1_500 && !isDrawn() && hasChart(event.data);
                handle(event);
                if (held) look(performance.now() + LONGEST);
            }
        };
        const look = (until) => setTimeout(() => {
            held = !isDrawn() && performance.now() < until;
            if (held) look(until);
            else pass();
        }, 10);
        return (event) => {
            waiting.push(event);
            pass();
        };
    };
    window.WebSocket = class extends window.WebSocket {
        addEventListener(kind, handle, ...options) {
            super.addEventListener(kind, kind === "message" ? inTurn(handle) : handle, ...options);
        }

        send(data) {
            super.send(data);
            makeReady();
        }
    };
})();
