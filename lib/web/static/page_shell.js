// What Streamlit's own page does not do for people. Everything else is Streamlit's.
(() => {
    "use strict";

    // What it says of a server or a page that is not there is meant for developers.
    const words = [
        [/Is Streamlit still running|Streamlit server is not responding|Cannot connect to Streamlit/,
            "Qodex does not answer. This page connects again by itself as soon as it does; what is saved stays saved. "
            + "If it lasts, tell an operator."],
        [/page that you have requested does not seem to exist|You have requested page/,
            "This link names no such page; showing Overview."],
    ];
    const reword = (dialog) => {
        const texts = document.createTreeWalker(dialog, NodeFilter.SHOW_TEXT);
        while (texts.nextNode()) {
            const text = texts.currentNode;
            const ours = words.find(([theirs]) => theirs.test(text.nodeValue));
            if (!ours) continue;
            text.nodeValue = ours[1];
            dialog.querySelectorAll("pre, [data-testid=stCode]").forEach((code) => { code.style.display = "none"; });
        }
    };
    const look = () => document.querySelectorAll("[role=dialog]").forEach(reword);
    document.addEventListener("DOMContentLoaded", () => {
        new MutationObserver(look).observe(document.body, { childList: true, subtree: true, characterData: true });
    });

    // One step of a person is one entry of the history: what a page adds to its address by itself, or in several
    // pieces, replaces that entry, so that Back leads to where one was.
    let step = false;
    for (const kind of ["pointerdown", "keydown"]) document.addEventListener(kind, () => { step = true; }, true);
    window.addEventListener("popstate", () => { step = false; }, true);
    const push = window.history.pushState.bind(window.history);
    window.history.pushState = (state, title, url) => {
        if (step && new URL(url, window.location.href).href !== window.location.href) push(state, title, url);
        else window.history.replaceState(state, title, url);
        step = false;
    };

    // The address holds all that is chosen, so it is what one sends to a colleague.
    document.addEventListener("click", (event) => {
        const label = event.target instanceof Element && event.target.closest(".st-key-copy-link button")?.querySelector("p");
        if (!label) return;
        const was = label.textContent;
        const say = (words) => {
            label.textContent = words;
            setTimeout(() => { label.textContent = was; }, 2_500);
        };
        const refused = () => say("Copy it from the address bar");
        if (!navigator.clipboard) refused();
        else navigator.clipboard.writeText(window.location.href).then(() => say("Link copied"), refused);
    }, true);

    // A row of a table that opens rows (``tables.row_opens``; without its checkboxes, page_shell.css) opens by a click
    // anywhere in it and by Enter: both choose the row in which the table's own cursor stands, as Shift and Space do.
    const inTable = (event) => event.target instanceof Element
        && event.target.closest("[class*=' st-key-opens-'] [data-testid=stDataFrame]");
    const choose = (place) => place.dispatchEvent(new KeyboardEvent("keydown", {
        key: " ", code: "Space", keyCode: 32, shiftKey: true, bubbles: true, cancelable: true,
    }));
    document.addEventListener("keydown", (event) => {
        if (event.key !== "Enter" || !inTable(event) || !event.target.closest("canvas, td")) return;
        event.preventDefault();
        event.stopPropagation();
        if (!event.repeat) choose(event.target);
    }, true);
    // A click on the header sorts, one that drags marks cells, and the second of a double click would take back the first.
    let pressed = { x: 0, y: 0 };
    document.addEventListener("pointerdown", ({ clientX: x, clientY: y }) => { pressed = { x, y }; }, true);
    document.addEventListener("click", (event) => {
        const table = inTable(event), moved = Math.hypot(event.clientX - pressed.x, event.clientY - pressed.y);
        if (!table || !event.target.closest(".dvn-scroller") || event.detail > 1 || moved > 5) return;
        const [cells, header] = table.querySelectorAll(".dvn-underlay canvas");
        if (event.clientY < header.getBoundingClientRect().bottom) return;
        if (cells.style.cursor === "pointer") return;  // on a button in a cell, which opens the row by itself
        setTimeout(() => choose(cells), 0);  // once the table itself has moved its cursor there
    });
})();
