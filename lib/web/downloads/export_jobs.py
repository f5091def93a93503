"""Background export jobs: a page's file is written in a thread, then cached for a while for its link.

None is kept for long, and not many are. A link does not need them: without, its file is written anew.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from lib.access.roles import Actor
from lib.errors import QodexError
from lib.platform import Platform
from lib.web.downloads import export_files
from lib.web.downloads.export_files import ExportFile
from lib.web.downloads.export_slots import MOST_SLOTS_EACH, Busy, ClientDisconnected, ExportSlots
from lib.web.downloads.links import Link, address_of

log = logging.getLogger(__name__)

KEPT_SECONDS = 600
MOST_KEPT = 6
MOST_KEPT_BYTES = 2 * export_files.MOST_BYTES
UNWATCHED_SECONDS = 120
"""How long a file is written on that no page looks at; browsers let hidden pages run once a minute."""


@dataclass
class ExportJob:
    """One export in progress, as its page sees it."""

    link: Link
    token: str
    rows: int = 0
    waits: str | None = None
    """Why it is not being written yet."""
    made: ExportFile | None = None
    """What was made; the file itself may be dropped by now."""
    problem: str | None = None
    gone: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)
    seen: float = field(default_factory=time.monotonic)

    def look(self) -> None:
        """Note that a page still watches this job."""
        self.seen = time.monotonic()

    def go_on(self, rows: int = 0) -> None:
        """Count the rows; give up where no page looks any more."""
        self.rows = rows
        if time.monotonic() - self.seen > UNWATCHED_SECONDS:
            self.gone.set()

    @property
    def address(self) -> str:
        """Where its file is."""
        return address_of(self.link, self.token)


class ExportCache:
    """Files that are whole, by the token of their link: for some minutes, and as many as there is room for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[str, ExportFile] = {}

    def put(self, token: str, made: ExportFile) -> None:
        """Keep a file; the oldest make room for it, and one of the same link, asked for in the same second."""
        self.drop(token)
        with self._lock:
            self._kept[token] = made
            while len(self._kept) > MOST_KEPT or self._bytes() > MOST_KEPT_BYTES:
                self._kept.pop(next(iter(self._kept))).file.close()
        timer = threading.Timer(KEPT_SECONDS, self.drop, [token])
        timer.daemon = True
        timer.start()

    def get(self, token: str) -> ExportFile | None:
        """The file, to be closed by the caller; None where it is not there any more."""
        with self._lock:
            made = self._kept.get(token)
            return made.again() if made else None

    def drop(self, token: str) -> None:
        """Forget a file."""
        with self._lock:
            made = self._kept.pop(token, None)
            if made:
                made.file.close()

    def clear(self) -> None:
        """Forget all files."""
        for token in list(self._kept):
            self.drop(token)

    def _bytes(self) -> int:
        return sum(made.done.bytes for made in self._kept.values())


class ExportJobs:
    """Runs export jobs, each in a thread of its own.

    Args:
        platform: gives the deployment that a link is about; raises a QodexError while there is none.
        slots: what each writer waits for.
        cache: where files go when they are whole.
    """

    def __init__(self, platform: Callable[[Link], Platform], slots: ExportSlots, cache: ExportCache) -> None:
        self._platform, self._slots, self._cache = platform, slots, cache
        self._lock = threading.Lock()
        self._under_way: Counter[str] = Counter()

    def prepare(self, link: Link, token: str, actor: Actor) -> ExportJob:
        """Begin to write the file of a link. Raises Busy where this person has enough of them under way."""
        with self._lock:
            if self._under_way[actor.name] >= MOST_SLOTS_EACH:
                raise Busy(
                    f"{MOST_SLOTS_EACH} of your exports are under way already. Wait until one is done."
                )
            self._under_way[actor.name] += 1
        job = ExportJob(link, token)
        threading.Thread(target=self._work, args=(job, actor), name="export prepared", daemon=True).start()
        return job

    def drop(self, job: ExportJob) -> None:
        """Give up the writing, or forget the file."""
        job.gone.set()
        self._cache.drop(job.token)

    def _work(self, job: ExportJob, actor: Actor) -> None:
        try:
            self._write(job, actor)
        except ClientDisconnected:
            job.problem = "The export was given up."
        except QodexError as problem:
            job.problem = problem.sentence
        except Exception:
            log.exception("An export could not be prepared.")
            job.problem = "Something went wrong. Try again, and tell an operator if it stays so."
        finally:
            with self._lock:
                self._under_way[actor.name] -= 1
            job.ended.set()

    def _write(self, job: ExportJob, actor: Actor) -> None:
        while refusal := self._slots.acquire(actor.name):
            job.waits = refusal
            job.go_on()
            if job.gone.wait(0.2):
                raise ClientDisconnected
        job.waits = None
        try:
            made = export_files.write(self._platform(job.link), job.link, actor, job.gone, job.go_on)
        finally:
            self._slots.release(actor.name)
        job.made = made
        self._cache.put(job.token, made)
        if job.gone.is_set():
            self._cache.drop(job.token)
