"""The one type that holds a key in memory, and the redaction of texts that may repeat one."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from functools import wraps
from typing import NoReturn, ParamSpec, TypeVar

from lib.providers import known

P = ParamSpec("P")
T = TypeVar("T")
HIDDEN = "[key hidden]"


class Secret:
    """A key that cannot be printed, pickled or copied by accident.

    ``reveal()`` is the only way to the text; search for it to find every use.
    """

    __slots__ = ("__text",)

    def __init__(self, text: str) -> None:
        self.__text = text

    def reveal(self) -> str:
        """Return the key itself. Put it into the one request it is for, and nowhere else."""
        return self.__text

    @property
    def last4(self) -> str:
        """The four characters that may be shown."""
        return self.__text[-4:]

    def __repr__(self) -> str:
        return "Secret(••••)"

    def __format__(self, spec: str) -> str:
        return HIDDEN

    def __str__(self) -> str:
        return HIDDEN

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self.__text.encode(), other.reveal().encode())

    def __hash__(self) -> int:
        raise TypeError("a Secret is no dictionary key")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a Secret is not pickled or copied")


def without_variables(function: Callable[P, T]) -> Callable[P, T]:
    """For functions that look into a key's text: no exception that leaves one takes its frames with it.

    Error reporters show the variables of each frame, and a signal's handler may raise in any line.
    """

    @wraps(function)
    def hidden(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except BaseException as problem:  # noqa: BLE001 - it goes on
            del args, kwargs
            raise problem.with_traceback(None)  # noqa: B904 - the same one

    return hidden


@without_variables
def redact(text: str, *secrets: Secret) -> str:
    """Return ``text`` without the given keys, their halves, these backwards, and anything that looks like a key.

    For every text that did not start with us: an upstream's message, a log record, an exception.
    """
    for secret in secrets:
        key = secret.reveal()
        half = len(key) // 2
        parts = [key, key[:half], key[half:]] if half >= 8 else [key]  # noqa: PLR2004 - shorter halves are words
        for part in parts:
            text = text.replace(part, HIDDEN).replace(part[::-1], HIDDEN)
    return known.key_like.sub(HIDDEN, text)
