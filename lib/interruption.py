"""Exceptions that come from outside of what was running: a signal handler raised them (a time limit, Ctrl-C)."""

from __future__ import annotations

from lib.providers import known

# What a call runs through, besides the SDK of a provider. A signal handler's own frame, or that of the library that brought it, is none of these.
_OUR_WAY = frozenset(
    {
        "lib", "httpx2", "httpcore2", "h11", "anyio", "sniffio", "ssl", "socket", "select", "selectors",
        "asyncio", "sqlalchemy", "psycopg", "psycopg_binary", "sqlite3", "cryptography", "concurrent", "contextlib",
        "threading", "queue", "weakref", "json", "re", "codecs", "encodings", "zlib", "logging", "genai_prices",
    }
)  # fmt: skip


def is_from_outside(error: BaseException) -> bool:
    """Whether somebody else's code raised it in the middle of ours: it is theirs to handle, and says nothing of us."""
    if not isinstance(error, Exception):
        return True
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return False
    module = str(trace.tb_frame.f_globals.get("__name__", ""))
    package = module.partition(".")[0]
    return package not in _OUR_WAY and package not in known.packages
