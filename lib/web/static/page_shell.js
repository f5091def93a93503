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

    // A row opens by its checkbox alone, or by Shift and Space where one stands in it. Enter and a click anywhere in
    // it do the same; where rows cannot be chosen, nothing happens.
    const inTable = (event) => event.target instanceof Element && event.target.closest("[data-testid=stDataFrame]");
    const cell = () => document.activeElement?.closest?.("td[role=gridcell]");
    const open = () => {
        if (!cell() || cell().closest("tr")?.getAttribute("aria-selected") === "true") return;
        const keys = { key: " ", code: "Space", keyCode: 32, shiftKey: true, bubbles: true, cancelable: true };
        cell().dispatchEvent(new KeyboardEvent("keydown", keys));
    };
    // Where the arrow keys have led to is known some frames later: when it does not change any more.
    const openAtRest = (last, tries) => setTimeout(() => {
        if (cell() && cell().id === last) open();
        else if (tries) openAtRest(cell()?.id, tries - 1);
    }, 120);
    document.addEventListener("keydown", (event) => {
        if (event.key !== "Enter" || !inTable(event) || !event.target.closest("canvas, td")) return;
        event.preventDefault();
        event.stopPropagation();
        openAtRest(null, 8);
    }, true);
    // Which cell a click has led to is known some frames later; where it led to no other one, it was for a checkbox, a
    // button or a header.
    const openOther = (before, frames) => {
        if (cell() && cell().id !== before) open();
        else if (frames) requestAnimationFrame(() => openOther(before, frames - 1));
    };
    let before = null;
    document.addEventListener("pointerdown", () => { before = cell()?.id; }, true);
    document.addEventListener("click", (event) => {
        if (inTable(event)) openOther(before, 20);
    });
})();
