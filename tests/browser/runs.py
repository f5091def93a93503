"""Whether a page shows what its server made of the last click.

A click only sends a message; until its answer begins, the page looks as finished as before. So each tab keeps
count by itself, of what goes through its web socket: ``RUN_IS_DRAWN`` holds once the run that was asked for last
has come to its end and is drawn. What a page asks for by itself every few seconds does not count.
"""

from __future__ import annotations

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

# After that the page counts as drawn: whatever was sent, nobody answered it.
_LONGEST_MS = 30_000

_ASK = BackMsg.DESCRIPTOR.fields_by_name["rerun_script"]
_ABOUT = ForwardMsg.DESCRIPTOR.fields_by_name["metadata"]
_RUN = _ABOUT.message_type.fields_by_name["run"]
_NUMBERS = {
    "ASK": _ASK.number,
    "ASK_PART": _ASK.message_type.fields_by_name["fragment_id"].number,
    "ASK_BY_ITSELF": _ASK.message_type.fields_by_name["is_auto_rerun"].number,
    "ABOUT": _ABOUT.number,
    "ABOUT_RUN": _RUN.number,
    "RUN_PARTS": _RUN.message_type.fields_by_name["fragment_ids"].number,
    "BEGIN": ForwardMsg.DESCRIPTOR.fields_by_name["new_session"].number,
    "END": ForwardMsg.DESCRIPTOR.fields_by_name["script_finished"].number,
    "END_TO_BEGIN_AGAIN": ForwardMsg.FINISHED_EARLY_FOR_RERUN,
}

KEEP_COUNT = (
    "(() => {"
    + "".join(f"const {name} = {number};" for name, number in _NUMBERS.items())
    + """
    // A protobuf message as number of field -> values: numbers, or the bytes of texts and inner messages.
    const fieldsOf = (bytes) => {
        const fields = new Map();
        let at = 0;
        const number = () => {
            for (let value = 0, place = 1; ; place *= 128) {
                const byte = bytes[at++];
                value += (byte & 127) * place;
                if (byte < 128) return value;
            }
        };
        while (at < bytes.length) {
            const tag = number(), kind = tag % 8, field = Math.floor(tag / 8);
            let value = null;
            if (kind === 0) value = number();
            else {
                const length = kind === 2 ? number() : kind === 1 ? 8 : 4;
                value = bytes.subarray(at, at + length);
                at += length;
            }
            fields.set(field, [...(fields.get(field) ?? []), value]);
        }
        return fields;
    };
    const inside = (fields, field) => fieldsOf(fields.get(field)?.[0] ?? new Uint8Array());
    const texts = (found) => (found ?? []).map((bytes) => new TextDecoder().decode(bytes));
    // ``part``: the fragment that is to run, or none for all of the page.
    const run = (window.qodexRun = { asked: 0, part: undefined, begun: false });
    const say = (data) => {
        const bytes = new Uint8Array(data.buffer ?? data, data.byteOffset ?? 0, data.byteLength);
        const fields = fieldsOf(bytes), ask = inside(fields, ASK);
        if (!fields.has(ASK) || ask.has(ASK_BY_ITSELF)) return;
        Object.assign(run, { asked: performance.now(), part: texts(ask.get(ASK_PART))[0], begun: false });
    };
    const hear = ({ data }) => {
        const fields = fieldsOf(new Uint8Array(data));
        if (fields.has(BEGIN)) {
            const parts = texts(inside(inside(fields, ABOUT), ABOUT_RUN).get(RUN_PARTS));
            run.begun ||= !parts.length || parts.includes(run.part);
        }
        if (!run.begun || !fields.has(END) || fields.get(END)[0] === END_TO_BEGIN_AGAIN) return;
        const answered = run.asked;
        // What came with it is drawn by then: the page handles one thing after the other.
        setTimeout(() => { if (run.asked === answered) run.asked = 0; }, 50);
    };
    const heard = new WeakSet();
    const send = WebSocket.prototype.send;
    WebSocket.prototype.send = function (data) {
        if (typeof data !== "string") {
            if (!heard.has(this)) this.addEventListener("message", hear);
            heard.add(this);
            say(data);
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
        && (!run.asked || performance.now() - run.asked > {_LONGEST_MS})
        && !document.querySelector("[data-testid=stSkeleton]");
}}"""
"""For ``Page.wait_for_function``."""
