"""The beginning of a text, compared byte by byte on both engines, so that an index answers it.

LIKE would not do: SQLite's knows no case and so no index, and PostgreSQL's needs to know the pattern in advance.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import NullType

_HIGHEST = 0x10FFFF  # the code point after which no text goes on


class begins_with(FunctionElement[Any]):  # noqa: N801 - used like a function of SQL
    """``begins_with(column, text)``. On PostgreSQL its index has ``varchar_pattern_ops`` for that column."""

    type = NullType()  # of a Boolean, SQLAlchemy would ask SQLite whether it equals 1, which no index answers
    inherit_cache = True


@compiles(begins_with, "sqlite")
def _sqlite(element: begins_with, compiler: SQLCompiler, **told: Any) -> str:
    return _between(element, compiler, ">=", "<", f"char({_HIGHEST})", told)


@compiles(begins_with, "postgresql")
def _postgresql(element: begins_with, compiler: SQLCompiler, **told: Any) -> str:
    return _between(element, compiler, "~>=~", "~<~", f"chr({_HIGHEST})", told)


def _between(
    element: begins_with, compiler: SQLCompiler, least: str, below: str, highest: str, told: dict[str, Any]
) -> str:
    column, text = (compiler.process(clause, **told) for clause in element.clauses)
    return f"({column} {least} {text} AND {column} {below} ({text} || {highest}))"
