"""What the genuine clients of all SDKs have in common: the HTTP client underneath, and what a copy may change."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx2

from lib.errors import NotMetered, QodexError, RunEnded, SdkUnsupported
from lib.ledger.settlement_queue import Hold

_RUN_ENDED = "This run has ended. Start another one for more calls."
_CHOSEN = frozenset(
    {
        "base_url",
        "timeout",
        "max_retries",
        "default_headers",
        "set_default_headers",
        "default_query",
        "set_default_query",
    }
)
Carry = Callable[[QodexError], Exception]
"""Wraps an error of ours into one that the SDK neither wraps nor retries."""


def require_version(package: str, version: str, oldest: tuple[int, ...], below: tuple[int, ...]) -> None:
    """Check the installed version of an SDK before a client of it is made.

    Args:
        package: what it is called where packages are installed from.
        version: the installed one, as it says itself.
        oldest: the version that the meter was tried with first, its first numbers.
        below: the first that was not tried.

    Raises:
        SdkUnsupported: it is another one.
    """
    found = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    if not oldest <= found < below:
        first, last = (".".join(map(str, end)) for end in (oldest, below))
        raise SdkUnsupported(package, version, f"{package}>={first},<{last}")


class RunClient(httpx2.Client):
    """Sends the requests of one run, and keeps the run going while somebody has it."""

    def __init__(
        self, transport: httpx2.BaseTransport, timeout: httpx2.Timeout, carry: Carry, hold: Hold | None
    ) -> None:
        super().__init__(transport=transport, trust_env=False, follow_redirects=False, timeout=timeout)
        self.hold = hold
        self.run_has_ended = False
        self._carry = carry

    def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        """Send one request. Raises what ``carry`` makes of an error of ours."""
        try:
            if self.run_has_ended:
                raise RunEnded(_RUN_ENDED)
            return super().send(request, **options)
        except QodexError as error:
            raise self._carry(error) from None


class AsyncRunClient(httpx2.AsyncClient):
    """``RunClient`` for asyncio."""

    def __init__(
        self, transport: httpx2.AsyncBaseTransport, timeout: httpx2.Timeout, carry: Carry, hold: Hold | None
    ) -> None:
        super().__init__(transport=transport, trust_env=False, follow_redirects=False, timeout=timeout)
        self.hold = hold
        self.run_has_ended = False
        self._carry = carry

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        """Send one request. Raises what ``carry`` makes of an error of ours."""
        try:
            if self.run_has_ended:
                raise RunEnded(_RUN_ENDED)
            return await super().send(request, **options)
        except QodexError as error:
            raise self._carry(error) from None


def end_run(client: Any) -> None:
    """Refuse what is asked of the client from now on, and of its copies: its run has ended."""
    client._client.run_has_ended = True  # noqa: SLF001 - shared by all copies


@dataclass(frozen=True, slots=True)
class CopyRules:
    """What the copy of an SDK's client may change."""

    not_given: type
    """The SDK's word for an option that was left out."""

    ignored: frozenset[str]
    """Options of credentials: keys are chosen by Qodex."""

    inherited: frozenset[str] = frozenset()
    """Further options that lead nowhere else; a copy has its original's where it is given none."""

    def options(self, client: Any, options: dict[str, Any]) -> dict[str, Any]:
        """Return what a copy is made of.

        Raises:
            NotMetered: it would go elsewhere, or by another way.
        """
        if options.get("base_url") and str(options["base_url"]).rstrip("/") == str(client.base_url).rstrip(
            "/"
        ):
            del options["base_url"]
        allowed = (_CHOSEN - {"base_url"}) | self.ignored | self.inherited
        refused = [name for name, value in options.items() if name not in allowed and self._says(value)]
        if refused:
            raise NotMetered(f"{refused[0]} cannot be changed: the request would bypass metering.")
        return {
            "base_url": client.base_url,
            "http_client": client._client,  # noqa: SLF001 - the copy shares it, as the SDK's own copies do
            "timeout": self._given(options.get("timeout", self.not_given()), client.timeout),
            "max_retries": self._given(options.get("max_retries", self.not_given()), client.max_retries),
            "default_headers": _merged(client._custom_headers, options, "default_headers"),  # noqa: SLF001
            "default_query": _merged(client._custom_query, options, "default_query"),  # noqa: SLF001
            **{name: options[name] for name in self.inherited & options.keys() if self._says(options[name])},
        }

    def _says(self, value: object) -> bool:
        return value is not None and not isinstance(value, self.not_given) and value != {}

    def _given(self, value: Any, otherwise: Any) -> Any:
        return otherwise if isinstance(value, self.not_given) else value


def _merged(current: Mapping[str, Any], options: dict[str, Any], name: str) -> dict[str, Any]:
    added, replacing = options.get(name), options.get(f"set_{name}")
    if added is not None and replacing is not None:
        raise ValueError(f"The `{name}` and `set_{name}` arguments are mutually exclusive")
    return dict(replacing) if replacing is not None else {**current, **(added or {})}
