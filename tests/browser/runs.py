"""Whether a page shows what its server made of the last click.

A click only sends a message; until its answer begins, the page looks as finished as before. So each tab keeps
count by itself, of what goes through its web socket: ``RUN_IS_DRAWN`` holds once the run that was asked for last
has come to its end and is drawn.
"""

from __future__ import annotations

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

# After that the page counts as drawn: whatever was sent, nobody answered it.
_LONGEST_MS = 15_000

_NUMBERS = {
    "ASKED": BackMsg.DESCRIPTOR.fields_by_name["rerun_script"].number,
    "BEGUN": ForwardMsg.DESCRIPTOR.fields_by_name["new_session"].number,
    "ENDED": ForwardMsg.DESCRIPTOR.fields_by_name["script_finished"].number,
    "AGAIN": ForwardMsg.FINISHED_EARLY_FOR_RERUN,
}

KEEP_COUNT = (
    "(() => {"
    + "".join(f"const {name} = {number};" for name, number in _NUMBERS.items())
    + """
    // The fields of a protobuf message: number -> value, where that is a number itself.
    const fieldsOf = (data) => {
        const bytes = new Uint8Array(data), fields = new Map();
        let at = 0;
        const number = () => {
            let value = 0, shift = 1;
            for (;;) {
                const byte = bytes[at++];
                value += (byte & 127) * shift;
                if (byte < 128) return value;
                shift *= 128;
            }
        };
        while (at < bytes.length) {
            const tag = number(), kind = tag % 8;
            let value = null;
            if (kind === 0) value = number();
            else {
                const length = kind === 2 ? number() : kind === 1 ? 8 : 4;
                at += length;
            }
            fields.set(Math.floor(tag / 8), value);
        }
        return fields;
    };
    const run = (window.qodexRun = { asked: 0, begun: true });
    const hear = (event) => {
        if (!(event.data instanceof ArrayBuffer)) return;
        const fields = fieldsOf(event.data);
        if (fields.has(BEGUN)) run.begun = true;
        if (!fields.has(ENDED) || fields.get(ENDED) === AGAIN || !run.begun) return;
        const answered = run.asked;
        // What came with it is drawn by then: the page handles one thing after the other.
        setTimeout(() => { if (run.asked === answered) run.asked = 0; }, 50);
    };
    const heard = new WeakSet();
    const send = WebSocket.prototype.send;
    WebSocket.prototype.send = function (data) {
        if (!heard.has(this)) {
            heard.add(this);
            this.addEventListener("message", hear);
        }
        if (typeof data !== "string" && fieldsOf(data.buffer ? data.slice().buffer : data).has(ASKED)) {
            run.asked = performance.now();
            run.begun = false;
        }
        return send.call(this, data);
    };
})()"""
)
"""To run in a page before its own scripts."""

RUN_IS_DRAWN = f"""() => {{
    const app = document.querySelector("[data-testid=stApp]");
    const run = window.qodexRun;
    return app !== null && app.dataset.testScriptState === "notRunning"
        && (!run || !run.asked || performance.now() - run.asked > {_LONGEST_MS})
        && !document.querySelector("[data-testid=stSkeleton]");
}}"""
"""For ``Page.wait_for_function``."""
