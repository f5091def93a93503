"""``runs list|show``."""

from __future__ import annotations

from datetime import date

import click

from lib.cli.base.inputs import DAY, require_order
from lib.cli.base.output import (
    clock_time,
    counted,
    json_option,
    plain,
    plain_fields,
    say,
    show_fields,
    show_json,
    show_table,
)
from lib.cli.base.session import Session
from lib.clock import Micros
from lib.db.tables import RUN_KINDS, RUN_STATUSES, SOURCES
from lib.pricing.amounts import plain_usd
from lib.runs.log import RunFilter, RunRow
from lib.usage.event_row import EventRow
from lib.usage.periods import midnight


@click.group()
def runs() -> None:
    """What the agent did for projects: runs, their calls, their failures."""


@runs.command("list")
@click.option("--project", "projects", multiple=True, help="Only this project; may be given again.")
@click.option("--kind", "kinds", multiple=True, type=click.Choice(RUN_KINDS), help="Only this kind.")
@click.option(
    "--status", "statuses", multiple=True, type=click.Choice(RUN_STATUSES), help="Only this status."
)
@click.option("--source", type=click.Choice(SOURCES), help="Only runs with calls that this key paid for.")
@click.option("--from", "since", type=DAY, help="First day.")
@click.option("--to", "until", type=DAY, help="The day after the last one.")
@click.option("--search", default="", help="Beginning of a run id or of the provider's request id.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True)
@json_option
@click.pass_obj
def show_all(  # noqa: PLR0913, PLR0917 - click hands over each option
    session: Session,
    projects: tuple[str, ...],
    kinds: tuple[str, ...],
    statuses: tuple[str, ...],
    source: str | None,
    since: date | None,
    until: date | None,
    search: str,
    limit: int,
    *,
    as_json: bool,
) -> None:
    """List runs, the newest first."""
    require_order(since, until)
    wanted = RunFilter(
        projects=projects,
        kinds=kinds,
        statuses=statuses,
        source=source,
        since=_start(session, since),
        until=_start(session, until),
        search=search,
        limit=limit,
    )
    found, total = session.platform.runs.list(wanted, actor=session.actor)
    if as_json:
        show_json([_public(run) for run in found])
    else:
        header = ("run", "project", "kind", "status", "started", "calls", "failed", "tokens", "USD", "key")
        show_table(header, [_line(run) for run in found])
    if total > len(found):
        say(f"The newest {len(found):,} of {total:,} runs; --limit shows more.")


@runs.command("show")
@click.argument("run_id")
@json_option
@click.pass_obj
def show(session: Session, run_id: str, *, as_json: bool) -> None:
    """Show one run: its calls and its log."""
    detail = session.platform.runs.show(run_id, actor=session.actor)
    if as_json:
        calls, log = [_public_call(call) for call in detail.calls], [plain(line) for line in detail.log]
        show_json({**_public(detail.run), "call_list": calls, "log": log})
        return
    show_fields((name.replace("_", " "), value) for name, value in _public(detail.run).items())
    click.echo()
    header = ("time", "key", "model", "status", "input", "output", "USD", "request id", "error")
    show_table(header, [_call(call) for call in detail.calls])
    if detail.archived_calls:
        say(
            f"{counted(detail.archived_calls, 'call')} of the run {'is' if detail.archived_calls == 1 else 'are'} archived."
        )
    if detail.log:
        click.echo()
        show_table(
            ("time", "what", "message"),
            [(clock_time(each.at), each.tag, each.message) for each in detail.log],
        )


def _start(session: Session, day: date | None) -> Micros | None:
    return midnight(day, session.platform.settings.zone) if day else None


def _public(run: RunRow) -> dict[str, object]:
    return {**plain(run), "source": run.source}


def _line(run: RunRow) -> tuple[object, ...]:
    cost = plain_usd(run.platform_nano + run.byok_nano)
    if run.source == "both":
        cost = f"{plain_usd(run.platform_nano)} platform + {plain_usd(run.byok_nano)} byok"
    unknown = f" + {run.unpriced_calls} unknown" if run.unpriced_calls else ""
    return (
        run.run_id,
        run.project,
        run.kind,
        run.status,
        clock_time(run.started_at),
        run.calls,
        run.failed_calls,
        run.tokens,
        f"{cost}{unknown}",
        run.source,
    )


_INTERNAL = {
    "project_id",
    "run_id",
    "run_kind",
    "imported",
    "sequence",
    "counted_after_nano",
    "unknown_after_nano",
}
_UNIT_PRICES = {
    "price_input",
    "price_cached_input",
    "price_output",
    "price_cache_write",
    "price_cache_write_1h",
}


def _public_call(call: EventRow) -> dict[str, object]:
    """A call for JSON; its unit prices are in exports."""
    return plain_fields(
        (name, value) for name, value in call.values().items() if name not in _INTERNAL | _UNIT_PRICES
    )


def _call(call: EventRow) -> tuple[object, ...]:
    said = [call.http_status, call.error_code, call.error_message]
    return (
        clock_time(call.occurred_at),
        f"{call.source} •••• {call.key_last4}",
        call.model,
        call.status,
        call.input_tokens,
        call.output_tokens,
        "unknown" if call.cost_nano is None else plain_usd(call.cost_nano),
        call.upstream_request_id,
        " ".join(str(part) for part in said if part is not None) if call.status != "ok" else "",
    )
