"""What a block of ``with database.write()`` holds, and how it is given back whatever ends the block.

A block can end in four ways: by its last line, by an exception of ours, by ``kill -9``, and by an exception from
outside: a signal handler that raises (Celery's time limit, Ctrl-C) can do so between any two lines, those that
give things back among them. So each thing is free when what stands for it is gone (lib.db.blocks.line), the connection of a
block that anything strange has left is closed, and whatever gives back does so twice.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Connection, Select

from lib.db.blocks.causes import is_driver_error, translate
from lib.db.blocks.fork_guard import ForkGuard
from lib.db.blocks.limits import Limits
from lib.db.blocks.line import Ticket
from lib.db.blocks.pool import Driver, Kept, Pool
from lib.db.blocks.writer_lock import WriterLock, WriterTurn
from lib.db.raw_execute import run_on_driver
from lib.db.reentrancy import Mark, transaction_mark
from lib.errors import QodexError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Parts:
    """What blocks of one database share; the lock and the guard are SQLite's."""

    side: Driver
    limits: Limits
    pool: Pool
    lock: WriterLock | None = None
    guard: ForkGuard | None = None


@dataclass(frozen=True, slots=True)
class BlockKind:
    """What a block is for.

    Args:
        write: it may change something.
        durable: what it commits survives a power cut, not only the death of this process.
        seconds: how long each lock and statement may take; None for the operator's limit, 0 for any time.
        bare: without a transaction.
    """

    write: bool = False
    durable: bool = True
    seconds: float | None = None
    bare: bool = False


_BARE = BlockKind(bare=True)


class Checkout:
    """What one block holds: the writer's turn, a place in the fork guard and in the pool, a connection."""

    # Of the class: interrupted while it is made, it is released all the same.
    _mark: Mark | None = None
    _turn: WriterTurn | None = None
    _inside: Ticket | None = None
    _place: Ticket | None = None
    _kept: Kept | None = None

    def __init__(self, parts: Parts, kind: BlockKind) -> None:
        self._parts, self._kind = parts, kind

    def begin(self) -> Connection:
        """Take all that the block needs, and begin its transaction."""
        kept = self._take()
        if self._kind.bare:
            return kept.connection()
        self._on_live_connection(self._begin_transaction)
        assert self._kept is not None  # noqa: S101 - it may be another one by now
        return self._kept.connection()

    def _take(self) -> Kept:
        """Take what is shared, in the order in which every block takes it."""
        kind, parts = self._kind, self._parts
        seconds = kind.seconds or parts.limits.seconds
        self._mark = transaction_mark()
        if parts.lock is not None and kind.write:
            self._turn = parts.lock.enter(seconds)
        if parts.guard is not None:
            self._inside = parts.guard.enter()
        self._place = parts.pool.enter(seconds)
        self._kept = parts.pool.take()
        return self._kept

    def look(self, query: Select[Any], parameters: Mapping[str, object]) -> list[Any]:
        """Begin without a transaction, and run one SELECT."""
        self._take()
        dialect = self._parts.side.engine.dialect
        return self._on_live_connection(lambda driver: run_on_driver(driver, dialect, query, parameters))

    def call_function(self, name: str, asked: str) -> Any:
        """Begin without a transaction, and call a function in one of its own."""
        kind, side = self._kind, self._parts.side
        self._take()
        return self._on_live_connection(
            lambda driver: side.call_function(driver, name, asked, durable=kind.durable, seconds=kind.seconds)
        )

    def end(self, error: BaseException | None) -> None:
        """End the transaction, as the end of its block says, and give all back.

        After an error that we or the database have raised the connection is as good as before; after any other
        nobody knows, and it is closed.
        """
        try:
            if _is_plain(error):
                self._finish(error)
                self._keep()
        except self._driver_error:
            if error is None and self._kind.write:
                raise
        self.release()

    def release(self) -> None:
        """Give back what is held, a connection that is not known to be clean closed. Twice changes nothing."""
        if self._kept is not None:
            self._parts.pool.discard(self._kept)
        self._kept = None
        if self._place is not None:
            self._parts.pool.leave(self._place)
        self._place = None
        if self._inside is not None and self._parts.guard is not None:
            self._parts.guard.leave(self._inside)
        self._inside = None
        if self._turn is not None:
            self._turn.leave()
        self._turn = self._mark = None

    def __del__(self) -> None:
        """Where an exception came even before the end of the block could begin."""
        self.release()

    @property
    def _driver_error(self) -> type[Exception]:
        return self._parts.side.engine.dialect.loaded_dbapi.Error

    def _begin_transaction(self, driver: Any) -> None:
        kind = self._kind
        self._parts.side.begin(driver, write=kind.write, durable=kind.durable, seconds=kind.seconds)

    def _finish(self, error: BaseException | None) -> None:
        if self._kept is None or self._kind.bare:
            return
        side = self._parts.side
        end = side.rollback if error is not None else side.commit if self._kind.write else side.end_read
        end(self._kept.driver)

    def _on_live_connection(self, act: Callable[[Any], T]) -> T:
        """Do the first thing on a connection; on a new one where the server has ended the old one meanwhile."""
        assert self._kept is not None  # noqa: S101 - taken just before
        try:
            return act(self._kept.driver)
        except self._driver_error:
            if self._parts.side.is_alive(self._kept.driver):
                raise
        self._parts.pool.discard(self._kept)
        self._parts.pool.close_idle()  # the server was restarted: the others are dead as well
        self._kept = self._parts.pool.connect()
        return act(self._kept.driver)

    def _keep(self) -> None:
        # Off this checkout first: interrupted in between, the connection is lost, and not in two hands.
        kept, self._kept = self._kept, None
        if kept is not None:
            self._parts.pool.give_back(kept)


class _Exit(partial[None]):
    """What the interpreter calls at the end of a block, and all that keeps the checkout alive meanwhile."""

    checkout: Checkout


class _Ending:
    """Makes the end of a block when the interpreter looks for it."""

    def __get__(self, block: Block | None, _kind: object = None) -> Callable[..., None]:
        return _leave if block is None else block.ending()


class Block:
    """A ``with`` block on the database, for one use. Its failures are our own errors.

    The interpreter looks ``__exit__`` up when a block begins and drops it when the block has ended, in whatever way.
    So the checkout hangs on it alone: were it an argument, or ``self``, the traceback of an exception that comes before
    the first line of the end would keep the checkout, and the writer's turn with it, for as long as somebody handles it.
    """

    def __init__(self, parts: Parts, kind: BlockKind) -> None:
        self._parts, self._kind = parts, kind

    def __enter__(self) -> Connection:
        return _begin(self._reference)

    __exit__ = _Ending()

    def ending(self) -> Callable[..., None]:
        """Make the checkout, and what ends it."""
        checkout = Checkout(self._parts, self._kind)
        self._reference = weakref.ref(checkout)
        leave = _Exit(_leave, self._reference)
        leave.checkout = checkout
        return leave


def _begin(reference: weakref.ref[Checkout]) -> Connection:
    try:
        return _held(reference).begin()
    except BaseException as problem:
        _release(reference)
        instead = translate(problem)
        if instead is None:
            raise
    raise instead


def _leave(
    reference: weakref.ref[Checkout], _kind: object, error: BaseException | None, _trace: object
) -> None:
    try:
        _held(reference).end(error)
    except Exception as problem:
        instead = translate(problem)
        if instead is None:
            raise
        raise instead from None
    finally:
        _release(reference)
    if error is not None and (instead := translate(error)) is not None:
        raise instead from None


def look(parts: Parts, query: Select[Any], parameters: Mapping[str, object]) -> list[Any]:
    """Run one SELECT outside any transaction."""
    return _at_once(Checkout(parts, _BARE), lambda checkout: checkout.look(query, parameters))


def call_function(parts: Parts, kind: BlockKind, name: str, asked: str) -> Any:
    """Call a function of the database in a transaction of its own (lib.db.blocks.postgresql)."""
    return _at_once(Checkout(parts, kind), lambda checkout: checkout.call_function(name, asked))


def _at_once(checkout: Checkout, act: Callable[[Checkout], T]) -> T:
    try:
        found = act(checkout)
        checkout.end(None)
        return found
    except Exception as problem:
        checkout.release()
        instead = translate(problem)
        if instead is None:
            raise
    finally:
        checkout.release()
    raise instead


def _is_plain(error: BaseException | None) -> bool:
    return error is None or isinstance(error, QodexError | GeneratorExit) or is_driver_error(error)


def _held(reference: weakref.ref[Checkout]) -> Checkout:
    checkout = reference()
    assert checkout is not None  # noqa: S101 - the interpreter keeps it until the block has ended
    return checkout


def _release(reference: weakref.ref[Checkout]) -> None:
    checkout = reference()
    if checkout is not None:
        checkout.release()
