"""Server-sent events: where one ends, and what it says."""

from __future__ import annotations

import re

# Two line ends in a row; "\r\n" is one line end, and the last "\r" may get its "\n" later: an empty line.
EVENT_END = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r)")
LONGEST_END = 4
LINE_END = re.compile(rb"\r\n|\n|\r")


def data_of(event: bytes) -> bytes:
    """Return the data of one event."""
    lines = LINE_END.split(event.removeprefix(b"\xef\xbb\xbf"))
    values = [line[5:].removeprefix(b" ") for line in lines if line.startswith(b"data:")]
    return b"\n".join(values)
