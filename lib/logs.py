"""How the processes of a deployment write their log: lines of text, or one JSON object a line (``QODEX_LOG``)."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

Form = Literal["text", "json"]

_TEXT = "%(asctime)s %(levelname)s %(message)s"


def configure(form: Form) -> None:
    """Have the root logger write from INFO on, unless the process has set up a log of its own."""
    logging.basicConfig(level=logging.INFO, format=_TEXT)
    if form == "json":
        write_json()


def write_json() -> None:
    """Have every handler that there is by now write JSON, those of a server's own loggers as well."""
    loggers = [logging.getLogger(), *map(logging.getLogger, list(logging.root.manager.loggerDict))]
    for handler in {handler for logger in loggers for handler in logger.handlers}:
        if isinstance(handler, logging.StreamHandler):
            handler.setFormatter(JSONFormatter())


def fields(values: Mapping[str, object]) -> dict[str, Any]:
    """What a record says besides its message, for ``extra``: names and values, never a text of a person or a model."""
    return {"fields": {name: value for name, value in values.items() if value is not None}}


class JSONFormatter(logging.Formatter):
    """One object a line: ``time`` (UTC), ``level``, ``logger``, ``message``, a traceback, and the record's fields."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as a line."""
        said: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info and not record.exc_text:
            record.exc_text = self.formatException(record.exc_info)
        if record.exc_text:
            said["traceback"] = record.exc_text
        return json.dumps(said, ensure_ascii=False, default=str)
