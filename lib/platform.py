"""The front door: what workers, pages and the command line call."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from types import TracebackType
from typing import TYPE_CHECKING, Self

from lib import logs
from lib.access.auditlog import AuditLog
from lib.access.members import Members
from lib.access.project_changes import ProjectChanges
from lib.access.projects import Projects
from lib.access.roles import Actor, Origin, local_administrator
from lib.access.saved_views import SavedViews
from lib.alerts import thresholds, triggers
from lib.caps.plans import Plans
from lib.caps.reading import CapsView
from lib.caps.requests import CapRequests
from lib.caps.spenders import Spenders
from lib.clock import Micros
from lib.db import Database
from lib.db.migrate import migrate
from lib.environment import ambient
from lib.errors import BadInput, CapExceeded, RunEnded, RunWaiting, SampleProject
from lib.keys import Keys
from lib.ledger.gauges import LedgerGauges
from lib.ledger.ledger import Ledger
from lib.ledger.run_end import RunEnd
from lib.llm import registry
from lib.llm.registry import Clients
from lib.metrics import meters
from lib.metrics.spans import SPANS
from lib.pricing.prices import PriceBook
from lib.providers import DEFAULT
from lib.reports.caching import CachingReports
from lib.reports.calls import CallReports
from lib.reports.groups import GroupReports
from lib.reports.percentiles import PercentileReports
from lib.reports.spend import Reports
from lib.runs.heartbeat import Heartbeat
from lib.runs.lifecycle import RunStore, StartedRun
from lib.runs.log import RunDetail, RunLog
from lib.runs.termination import end_on_sigterm
from lib.settings import Settings
from lib.usage import rollups
from lib.vault.keys import KeyStore, keyring_for
from lib.vault.master_keys.rotation import Masters
from lib.vault.seals import ProjectSeals
from lib.vault.unsealed import UnsealedProjects, seal_existing

if TYPE_CHECKING:
    from lib.alerts.alerts import Alerts
    from lib.alerts.watch import Watch
    from lib.caps.forecast.forecasts import Forecasts

log = logging.getLogger(__name__)

TEST_PROMPT_LENGTH = 2_000


class Platform:
    """One deployment of Qodex, as this process sees it.

    Args:
        settings: where the database, the master keys and the upstream are.
        actor: who acts where a call names nobody; a worker of this machine unless told.
        clock: replaces the time, microseconds since 1970 UTC; for tests and sample data.
        durable: False for a SQLite database that can be made again: nothing waits for the disk.

    Raises:
        SettingsError, DatabaseUnavailable: this process cannot start; the sentence says what to mend.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        actor: Actor | None = None,
        clock: Callable[[], Micros] | None = None,
        durable: bool = True,
    ) -> None:
        self.settings = settings
        self.actor = actor or local_administrator(Origin.WORKER, "worker")
        self.database = Database.from_settings(
            settings, clock=clock, durable=durable, application=f"qodex {self.actor.origin}"
        )
        migrate(self.database, seal_projects=partial(seal_existing, self.database, settings, self.actor))
        if rollups.set_zone(self.database, settings.timezone, _log_progress):
            log.info("The daily roll-up holds days of %s now.", settings.timezone)
        self.deployment_id = self.database.deployment_id  # here, and not in the transaction of the first call
        with self.database.read() as connection:
            self.keyring = keyring_for(connection, settings)
        store = KeyStore(self.database, self.keyring, settings.platform_keys)
        self.masters = Masters(self.database, self.keyring, settings)
        self.unsealed = UnsealedProjects(self.database, self.keyring)
        self.prices = PriceBook.load(settings.prices_file)
        self.projects = Projects(self.database, ProjectSeals(self.database, self.keyring))
        self.project_changes = ProjectChanges(self.database, rollups.day_start)
        self.members = Members(self.database)
        self.saved_views = SavedViews(self.database)
        self.audit = AuditLog(self.database)
        self.keys = Keys(self.database, store, self.projects, settings, self.actor)
        self.caps = CapsView(self.database, self.actor)
        self.plans = Plans(self.database)
        self.spenders = Spenders(self.database)
        self.cap_requests = CapRequests(self.database, triggers.note_cap_request)
        self.runs = RunLog(self.database)
        self.reports = Reports(self.database)
        self.call_reports = CallReports(self.database)
        self.caching = CachingReports(self.database)
        self.group_reports = GroupReports(self.database)
        self.percentiles = PercentileReports(self.database)
        self.ledger = Ledger(self.database, store, self.prices, self.actor)
        self._runs = RunStore(self.database, thresholds.refused)
        self._heartbeat = Heartbeat(self._runs)

    @cached_property
    def forecasts(self) -> Forecasts:
        """When caps are reached, and what a month will have cost."""
        from lib.caps.forecast.forecasts import Forecasts  # noqa: PLC0415 - numpy, which a worker need not load

        return Forecasts(self.database, self.caps, self.settings.zone)

    @cached_property
    def alerts(self) -> Alerts:
        """What is told to whom, and the sending of it."""
        from lib.alerts.alerts import Alerts  # noqa: PLC0415 - a worker only notices, it sends nothing

        return Alerts(self.database, self.keyring, self.settings)

    @cached_property
    def alert_watch(self) -> Watch:
        """Looks for what no single call shows, and writes what is to be told of it."""
        from lib.alerts.watch import Watch  # noqa: PLC0415 - numpy, as above

        return Watch(self.database, self.caps, self.forecasts)

    @classmethod
    def from_env(cls, *, actor: Actor | None = None) -> Self:
        """Build it from the process environment (see lib.settings)."""
        settings = Settings.from_env()
        if warning := ambient.key_warning():
            log.warning("%s", warning)
        if settings.traces:
            SPANS.turn_on()
        platform = cls(settings, actor=actor)
        if settings.log == "json":
            logs.configure("json")
        if platform.actor.origin == Origin.WORKER:
            platform.serve_metrics()
        return platform

    def serve_metrics(self) -> None:
        """Let Prometheus read this process, where the environment says on which address."""
        if self.settings.metrics_address is None:
            return
        from lib.metrics import exposition  # noqa: PLC0415 - an HTTP server, which few need

        gauges = LedgerGauges(self.database, self.ledger.queue, self.keyring)
        exposition.serve(self.settings.metrics_address, gauges.read)

    def run(
        self,
        project: str | None = None,
        *,
        kind: str = "scan",
        token_budget: int | None = None,
        resume: str | StartedRun | None = None,
        actor: Actor | None = None,
    ) -> Run:
        """Start a run of ``project``, or go on with the waiting run ``resume``; use it with ``with``.

        Args:
            project: the project's slug; with ``resume`` what the run must be of, if it is given.
            kind: chat, scheduled, pr_review or scan.
            token_budget: input and output tokens the run may use in all; None for no limit of its own.
            resume: what ``due_runs()`` returned, or its run id.
            actor: for whom; needs the role lead.

        Raises:
            CapExceeded: a platform-funded chat or scan at the cap.
            RunWaiting: a scheduled run or PR review at the cap; claim it later through ``due_runs()``.
            SampleProject: nothing of the sample deployment ever leaves this machine.
        """
        if self.settings.is_sample:
            raise SampleProject(project or "This")
        end_on_sigterm()
        who = actor or self.actor
        try:
            return Run(self, self._started(project, kind, token_budget, resume, who))
        except (CapExceeded, RunWaiting) as problem:
            meters.count_refusal(problem)
            raise

    def _started(
        self,
        project: str | None,
        kind: str,
        token_budget: int | None,
        resume: str | StartedRun | None,
        who: Actor,
    ) -> StartedRun:
        if resume is not None:
            run_id = resume.run_id if isinstance(resume, StartedRun) else resume
            slug = resume.project if isinstance(resume, StartedRun) else project
            return self._runs.resume(run_id, actor=who, slug=slug)
        return self._runs.start(project or "", kind, actor=who, token_budget=token_budget)

    def test_call(
        self,
        project: str,
        model: str,
        prompt: str,
        *,
        actor: Actor | None = None,
        provider: str = DEFAULT,
    ) -> TestCall:
        """Make one short call as a run of its own, through the very client that workers use.

        No answer of the provider is an exception here, an error or something odd: ``sentence`` says what it was.

        Raises:
            BadInput: no prompt, or a long one.
            CapExceeded, KeyMissing, KeyLocked, PriceUnknown: the call did not leave.
        """
        if not 0 < len(prompt.strip()) <= TEST_PROMPT_LENGTH:
            raise BadInput(f"A test prompt has 1 to {TEST_PROMPT_LENGTH} characters.")
        asked, who = registry.provider(provider), actor or self.actor
        with self.run(project, kind="chat", actor=who) as run:
            answer = asked.send_test_prompt(run.client(provider), model.strip(), prompt)
            run.finish("error" if answer is None else "passed")
        return TestCall(answer, self.runs.show(run.id, actor=who), asked.facts.title)

    def due_runs(self, *, limit: int = 20) -> list[StartedRun]:
        """Claim waiting runs whose time has come; go on with each: ``platform.run(resume=it.run_id)``."""
        return self._runs.due(actor=self.actor, limit=limit)

    @property
    def owed(self) -> int:
        """How many ended calls and runs of this process are not written to the database yet."""
        return self.ledger.queue.owed

    def close(self) -> None:
        """Write what is owed, for a few seconds at most, and give the database's connections back."""
        self.ledger.queue.close()
        self.database.close()

    def _end_of(self, started: StartedRun) -> RunEnd:
        return RunEnd(self.ledger.queue, self._runs, self._heartbeat, started)


@dataclass(frozen=True)
class TestCall:
    """A test call: the answer's text, None where there was none, its run, and the provider's title."""

    __test__ = False  # pytest: this is no test

    answer: str | None
    detail: RunDetail
    provider: str

    @property
    def sentence(self) -> str:
        """What to show: the answer, the provider's own words, or what became of the call."""
        last = self.detail.calls[-1] if self.detail.calls else None
        if self.answer is not None:
            return self.answer or "The answer was empty."
        if last is None or last.error_message or last.status != "ok":
            return (last and last.error_message) or "There was no answer."
        return f"{self.provider} answered, but not in a form that can be read."


def _log_progress(done: int, total: int) -> None:
    log.info("Rolling up days of the new time zone: %s of %s projects.", done, total)


class Run(Clients):
    """A run in progress. Leaving the ``with`` block ends it: passed, or error where an exception left it.

    A client that was taken from it keeps it going. A run that nobody has any more ends by itself.

    Attributes:
        id: the run's id, as the run log shows it.
    """

    def __init__(self, platform: Platform, started: StartedRun) -> None:
        self.id = self.run_id = started.run_id
        self.project, self.kind, self.token_budget = started.project, started.kind, started.token_budget
        SPANS.begin_run(self.id, self.project, self.kind)
        self._end = platform._end_of(started)  # noqa: SLF001 - one front door in two classes
        super().__init__(platform.ledger, platform.settings, started, self._end.guard())

    @property
    def status(self) -> str:
        """Running, and after the end what the run ended with."""
        return self._end.status

    def finish(self, status: str = "passed") -> str:
        """End the run: ``passed`` or ``failed``. Returns what it ended with.

        A run that a cap or its own budget stopped ends ``budget_exceeded``, whatever is asked for. While the
        database does not answer the end is owed to it, and written as soon as it does.
        """
        if self.status != "running":
            raise RunEnded(f"Run {self.id} has ended already: {self.status}.")
        return self._end.end(status)

    def __enter__(self) -> Self:
        self._end.is_entered = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the run. Raises nothing of its own: an exception that leaves the block is the one that is seen."""
        try:
            if self.status == "running":
                # One that a cap or its budget stopped ends ``budget_exceeded`` all the same.
                self._end.end("error" if error else "passed")
        finally:
            self._end_clients()
            self._close_clients()

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            # To its end, whoever cancels meanwhile.
            await asyncio.shield(asyncio.to_thread(self.__exit__, kind, error, trace))
        finally:
            await self._close_async_clients()
