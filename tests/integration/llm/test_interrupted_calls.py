"""Promise 19: an interruption at any line of ours that a call runs hangs nothing, keeps nothing and loses no cost.

A sample of the lines is taken, at which the kinds of interruptions take turns; a larger one and each kind with
``--whole``, and all lines with ``QODEX_INTERRUPT_EVERY=1``.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from functools import partial
from itertools import cycle
from typing import Any, NamedTuple

import openai
import pytest

import lib.llm.metering.async_transport
from lib.db.reentrancy import started_by_runtime
from lib.errors import CapExceeded
from lib.llm.metering.lease import Lease
from lib.llm.metering.reservation import in_thread
from lib.platform import Platform, Run
from lib.secret import Secret
from lib.settings import Settings
from tests.calls import CALLS, SAY, ask
from tests.interruptions import Interrupter, Place, Scene, TimeLimit, apart, other_process, raising, sampled
from tests.providers import PROVIDERS
from tests.upstream import ScriptedUpstream
from tests.whole import whole_or

CHAT = CALLS["chat stream"]

pytestmark = [
    pytest.mark.slow,
    # An exception in a finalizer leaves it nowhere; connections that were given up are closed by the collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def scene(
    settings: Settings,
    upstream: ScriptedUpstream,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> Iterator[Scene]:
    # pytest keeps what it shows until the test ends, and with it the frames of interruptions and what they hold:
    # those that came into a finalizer, and those that were logged.
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
    caplog.set_level(logging.CRITICAL + 1)
    keys = {f"{case.name}_api_key": Secret(case.platform_key) for case in PROVIDERS.values()}
    told = keys | {"db_timeout": 60.0}
    platform = Platform(settings.model_copy(update=told), durable=False)
    with ExitStack() as stack:
        stack.callback(
            gc.collect
        )  # once more when all is closed: threads may have held frames with connections
        stack.callback(platform.close)
        made = Scene(platform, upstream, stack.enter_context(other_process(settings.database_url)))
        stack.callback(made.end)
        gc.collect()
        gc.freeze()  # what is there by now need not be looked at after each call
        stack.callback(gc.collect)  # sockets of connections that were given up, here and not in another test
        stack.callback(gc.unfreeze)
        yield made


class Call(NamedTuple):
    """A call that may have been interrupted; ``is_answered`` where its caller got the whole answer."""

    run_id: str
    follower: Interrupter
    is_answered: bool


def keep_alive(patch: pytest.MonkeyPatch) -> None:
    """A heartbeat is due with each event."""
    patch.setattr(Lease, "is_due", lambda _: not started_by_runtime())


Kind = type[BaseException]
Interrupting = Callable[[Scene, Kind, str, Place | None], Call]


def by_turns(*kinds: Kind) -> list[list[Kind]]:
    """The parameters of a test: all kinds in one, or each in one of its own."""
    return whole_or([list(kinds)], [[kind] for kind in kinds])


def faults(scene: Scene, names: Iterable[str], kinds: list[Kind], interrupted: Interrupting) -> list[str]:
    """Have each call interrupted at one place after the other; where not all held afterwards, with the reason."""
    found = []
    for offset, name in enumerate(names):
        for _ in range(3):  # what is done once for the life of the process
            call = interrupted(scene, kinds[0], name, None)
            scene.require_clean(call.run_id, cost_is_known=call.is_answered)
        places = call.follower.places
        for place, kind in zip(sampled(places, offset), cycle(kinds), strict=False):
            try:
                call = interrupted(scene, kind, name, place)
                known = call.is_answered or call.follower.cost_was_known
                scene.require_clean(call.run_id, cost_is_known=known)
            except Exception as problem:  # noqa: BLE001 - the place is told with it
                found.append(f"{name}, {place}, {kind.__name__}: {problem!r}")
                break
        print(f"{name}: {len(places)} places, of them {len(sampled(places, offset))} interrupted")
    scene.require_all_written()
    return found


# --- synchronous ---------------------------------------------------------------------------------------


def forget(client: Any) -> None:
    """A stream after its first event, which only the collector finds."""
    next(CHAT(client))
    gc.collect()


def close(client: Any) -> None:
    stream = CHAT(client)
    next(stream)
    stream.close()


def streamed_raw(client: Any) -> Any:
    create = client.chat.completions.with_streaming_response.create
    with create(model="gpt-5", messages=SAY, stream=True) as response:
        return list(response.iter_lines())


def refused(client: Any) -> None:
    with suppress(CapExceeded):
        ask(client)


CASES: dict[str, tuple[str, Callable[[Any], object]]] = {
    "plain": ("shop", ask),
    "own key": ("own", ask),
    "stream": ("shop", lambda client: list(CHAT(client))),
    "forgotten": ("shop", forget),
    "closed": ("shop", close),
    "kept alive": ("shop", lambda client: list(CHAT(client))),
    "falls back": ("falling", ask),
    "refused by the cap": ("capped", refused),
    "refused by the provider": ("bad", ask),
    "raw": ("shop", lambda client: CALLS["chat"](client.with_raw_response).parse()),
    "streamed raw": ("own", streamed_raw),
}


def of_provider(name: str) -> dict[str, tuple[str, Callable[[Any], object]]]:
    """What other SDKs run between our lines: the plainest calls, which ``client_of`` hands over."""
    return {
        f"{name}, plain": ("shop", lambda ask: ask()),
        f"{name}, stream": ("shop", lambda ask: list(ask(stream=True))),
    }


CASES |= of_provider("anthropic") | of_provider("google")


def client_of(run: Run, name: str) -> Any:
    """A client whose requests name the run to the upstream; of another provider than the first, its plainest call."""
    provider = PROVIDERS.get(name.partition(",")[0])
    if provider is not None:
        return partial(provider.ask, run.client(provider.name), headers={"x-run": run.id})
    return run.openai.with_options(max_retries=0, default_headers={"x-run": run.id})


UNANSWERED = {"forgotten", "closed", "refused by the cap", "refused by the provider"}


def interrupted_call(scene: Scene, kind: type[BaseException], name: str, place: Place | None) -> Call:
    slug, act = CASES[name]
    follower, run, is_answered = Interrupter(place, raising(kind)), scene.platform.run(slug), False
    client = client_of(run, name)
    with pytest.MonkeyPatch.context() as patch:
        if name == "kept alive":
            keep_alive(patch)
        try:
            with follower.following():
                apart(partial(act, client))
            is_answered = name not in UNANSWERED
        except BaseException as problem:  # noqa: BLE001 - whatever it is
            scene.require_works()
            follower.require_left_by(problem, kind)
    run._end.end("passed")
    run._close_clients()
    return Call(run.id, follower, is_answered)


@pytest.mark.parametrize("kinds", by_turns(TimeLimit, KeyboardInterrupt))
def test_an_exception_at_any_line_of_a_call(scene: Scene, kinds: list[Kind]) -> None:
    assert faults(scene, CASES, kinds, interrupted_call) == []


def interrupted_run(scene: Scene, kind: type[BaseException], _: str, place: Place | None) -> Call:
    follower, run_id, is_answered = Interrupter(place, raising(kind)), "", False

    def act() -> None:
        nonlocal run_id, is_answered
        with scene.platform.run("shop") as run:
            run_id = run.id
            ask(run.openai.with_options(max_retries=0, default_headers={"x-run": run.id}))
            is_answered = True

    try:
        with follower.following():
            apart(act)
    except BaseException as problem:  # noqa: BLE001 - whatever it is
        scene.require_works()
        follower.require_left_by(problem, kind)
    return Call(run_id, follower, is_answered)


@pytest.mark.parametrize("kinds", by_turns(TimeLimit, KeyboardInterrupt))
def test_an_exception_at_any_line_of_a_run(scene: Scene, kinds: list[Kind]) -> None:
    assert faults(scene, ["a run"], kinds, interrupted_run) == []


# --- asyncio -------------------------------------------------------------------------------------------


async def read_all(client: Any) -> None:
    async for _ in await CHAT(client):
        pass


async def forget_it(client: Any) -> None:
    await anext(await CHAT(client))
    gc.collect()


async def close_it(client: Any) -> None:
    stream = await CHAT(client)
    await anext(stream)
    await stream.close()


ASYNC_CASES: dict[str, tuple[str, Callable[[Any], Awaitable[object]]]] = {
    "plain": ("shop", ask),
    "own key": ("own", ask),
    "stream": ("shop", read_all),
    "forgotten": ("shop", forget_it),
    "closed": ("shop", close_it),
    "kept alive": ("shop", read_all),
    "falls back": ("falling", ask),
    "refused by the provider": ("bad", ask),
}


def cancelling(loop: asyncio.AbstractEventLoop, task: asyncio.Future[Any]) -> Callable[[], None]:
    """Cancels the task; in a thread of the ledger's it waits until the loop has dealt with that."""

    def after(turns: int, then: Callable[[], None]) -> None:
        loop.call_soon(*((after, turns - 1, then) if turns else (then,)))

    def cancel() -> None:
        if threading.current_thread() is threading.main_thread():
            task.cancel()
            return
        dealt_with = threading.Event()
        loop.call_soon_threadsafe(task.cancel)
        loop.call_soon_threadsafe(after, 5, dealt_with.set)
        dealt_with.wait(5)

    return cancel


def follow_threads(patch: pytest.MonkeyPatch, follower: Interrupter) -> None:
    """Follow what the ledger's threads run for the act as well."""

    def followed(act: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        def run() -> Any:
            with follower.following():
                return act(*arguments, **options)

        return in_thread(run) if sys.gettrace() else in_thread(act, *arguments, **options)

    patch.setattr(lib.llm.metering.async_transport, "in_thread", followed)


async def interrupt_task(
    scene: Scene, run: Run, name: str, follower: Interrupter, kind: type[BaseException]
) -> bool:
    """Whether it was answered."""
    client = run.async_openai.with_options(max_retries=0, default_headers={"x-run": run.id})
    task = asyncio.ensure_future(ASYNC_CASES[name][1](client))
    is_cancelled = kind is asyncio.CancelledError
    follower.interrupt = cancelling(asyncio.get_running_loop(), task) if is_cancelled else raising(kind)
    try:
        with follower.following():
            await task
        # Not of what came when it had ended: a generator that it left is closed by a task of the loop.
        assert not (is_cancelled and task.cancelling()), "the cancellation was swallowed"
        return name not in UNANSWERED
    except BaseException as problem:  # noqa: BLE001 - whatever it is
        async with asyncio.timeout(120):
            with suppress(openai.BadRequestError):
                await ask(client)
        await asyncio.to_thread(scene.require_works)
        if not isinstance(problem, openai.BadRequestError):  # it ended before the cancellation could
            follower.require_left_by(problem, kind)
        return False
    finally:
        del task, follower.interrupt
        await run.async_openai.close()


def interrupted_task(scene: Scene, kind: type[BaseException], name: str, place: Place | None) -> Call:
    follower, run = Interrupter(place), scene.platform.run(ASYNC_CASES[name][0])
    with pytest.MonkeyPatch.context() as patch:
        if name == "kept alive":
            keep_alive(patch)
        if kind is asyncio.CancelledError:
            follow_threads(patch, follower)
        is_answered = asyncio.run(interrupt_task(scene, run, name, follower, kind))
    run._end.end("passed")
    return Call(run.id, follower, is_answered)


@pytest.mark.parametrize("kind", [TimeLimit, asyncio.CancelledError])  # each has places of its own
def test_an_interruption_at_any_line_of_an_asynchronous_call(scene: Scene, kind: Kind) -> None:
    assert faults(scene, ASYNC_CASES, [kind], interrupted_task) == []
