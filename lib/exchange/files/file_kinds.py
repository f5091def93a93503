"""Files that an import does not take, known by their first bytes or their header: a sentence that says what to do.

Whatever is wrong, the reason is named that the person can mend: a separator is not five missing columns.
"""

from __future__ import annotations

from collections.abc import Sequence

from lib.errors import BadInput
from lib.exchange.columns import DAILY_HEADER, NEEDED

LONGEST_START = 64
"""Bytes from which a kind is told."""

_STARTS = {
    b"{": "The file is JSON. An import takes CSV, with the names of the columns in its first line, or Parquet.",
    b"[": "The file is JSON. An import takes CSV, with the names of the columns in its first line, or Parquet.",
    b"<": "The file is HTML or XML. An import takes CSV, with the names of the columns in its first line, or Parquet.",
    b"\xff\xfe": "The file is UTF-16. Save it as CSV in UTF-8.",
    b"\xfe\xff": "The file is UTF-16. Save it as CSV in UTF-8.",
    b"PK\x03\x04": "The file is a workbook or a ZIP archive. Save it as CSV in UTF-8, or unpack it.",
    b"\xd0\xcf\x11\xe0": "The file is an old workbook. Save it as CSV in UTF-8.",
    b"\x1f\x8b": "The file is compressed. Unpack it first.",
    b"(\xb5/\xfd": "The file is compressed. Unpack it first.",
    b"SQLite format 3": "The file is a SQLite database. Export its rows as CSV.",
}
_SEPARATORS = {
    ";": "semicolons. Write commas between them (and a point in amounts)",
    "\t": "tabs. Write commas between them",
    "|": "bars. Write commas between them",
}
_HEADERS = {
    ("num_model_requests", "input_tokens"): (
        "This is OpenAI's own usage export: each row sums a day's requests. To take it in all the same, rename "
        "start_time_iso to occurred_at and project_id to project, and write short names of your projects there. "
        "Such rows have no known cost unless you add a column cost_usd."
    ),
    ("amount_value", "amount_currency"): (
        "This is OpenAI's own cost export: amounts of days, without calls or tokens, so there is nothing to import. "
        "Compare its sums with those of BYOK on the page Usage."
    ),
    DAILY_HEADER: "This is a daily summary. An import takes the events: usage export --format csv or parquet.",
}


def require_table(start: bytes) -> None:
    """Refuse a file that is no CSV, by its first bytes.

    Raises:
        BadInput: says what it is instead.
    """
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    for beginning, sentence in _STARTS.items():
        if text.startswith(beginning):
            raise BadInput(sentence)


def require_needed(header: Sequence[str]) -> None:
    """Refuse a header, in small letters, without the columns that an import needs.

    Raises:
        BadInput: names the separator, the kind of file, or else the columns that are missing.
    """
    if not any(header):
        raise BadInput("The file is empty. Its first line must name the columns.")
    missing = [name for name in NEEDED if name not in header]
    if missing:
        raise BadInput(_separated(header) or _kind(header) or _without(missing))


def _separated(header: Sequence[str]) -> str:
    line = ",".join(header)
    for separator, words in _SEPARATORS.items():
        if len(set(NEEDED) & {name.strip(' "') for name in line.split(separator)}) > 1:
            return f"The file's columns are separated by {words}."
    return ""


def _kind(header: Sequence[str]) -> str:
    return next((words for names, words in _HEADERS.items() if set(names) <= set(header)), "")


def _without(missing: Sequence[str]) -> str:
    return (
        f"The file has no column {' and no column '.join(missing)}. "
        f"Its first line must name the columns, separated by commas; needed are {', '.join(NEEDED)}."
    )
