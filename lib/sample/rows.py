"""The rows that sample data is made of: runs, their calls and the lines of their logs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lib.clock import Micros
from lib.sample.failures import Mishap
from lib.sample.traffic import DraftCall
from lib.usage.event_row import EventRow
from lib.vault.states import PROVIDER

Row = dict[str, Any]


def log_row(run: Row, at: Micros, tag: str, message: str, event_id: str | None = None) -> Row:
    """One line of a run's log."""
    told = {"at": at, "tag": tag, "message": message, "event_id": event_id}
    return {"project_id": run["project_id"], "run_id": run["run_id"], **told}


def run_row(project_id: str, run_id: str, kind: str, status: str, started_at: Micros) -> Row:
    """A run without calls so far."""
    return {
        "project_id": project_id,
        "run_id": run_id,
        "kind": kind,
        "status": status,
        "started_at": started_at,
        "started_by": "worker",
        "ended_at": None,
        "lease_until": None,
        "resumes_at": None,
        "token_budget": None,
        "budget_warned_at": None,
        "stopped_by": None,
        **_no_calls(),
        "last4": None,
    }


def _no_calls() -> Mapping[str, int]:
    counts = ("calls", "failed_calls", "unpriced_calls", "tokens", "platform_nano", "byok_nano")
    return dict.fromkeys((*counts, "platform_calls", "byok_calls"), 0)


def event_row(run: Row, event_id: str, call: DraftCall, mishap: Mishap, source: str) -> Row:
    """A call of the run: with which key, and what it took is still to be told."""
    return EventRow(
        project_id=run["project_id"],
        event_id=event_id,
        occurred_at=call.at,
        run_id=run["run_id"],
        run_kind=run["kind"],
        source=source,
        provider=PROVIDER,
        model=call.model,
        endpoint=call.endpoint,
        status=mishap.status,
        http_status=mishap.http_status,
        error_code=mishap.code,
        error_type=mishap.type,
        error_message=mishap.message,
    ).values()


def add_call(run: Row, event: Row) -> None:
    """Count one more call in the sums of its run."""
    source = event["source"]
    run["calls"] += 1
    run["failed_calls"] += event["status"] != "ok"
    run["unpriced_calls"] += event["cost_nano"] is None
    run["tokens"] += (event["input_tokens"] or 0) + (event["output_tokens"] or 0)
    run[f"{source}_calls"] += 1
    run[f"{source}_nano"] += event["cost_nano"] or 0
    run["last4"] = event["key_last4"]
