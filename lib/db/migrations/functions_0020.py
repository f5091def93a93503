"""The functions of step 0019 (lib.db.migrations.functions_0019), with less work for the database: step 0020.

Their arguments and their meaning are as before; sums that workers of before send along are made from the event here.
The row of a roll-up is there but for the first call of an hour or a day: it is updated, and inserted where it was not.
"""

from __future__ import annotations

from lib.db.migrations.functions_0019 import FUNCTIONS as FORMER

_HOUR = 3_600_000_000
_LEAP = 7 * 24 * _HOUR + _HOUR  # lib.usage.clock_leaps
_EARLIEST, _LATEST = 1_577_836_800_000_000, 7_258_118_400_000_000  # lib.db.engine
_NOW = "coalesce(({told}->>'now')::bigint, CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint))"
_LONG_WAY = "RAISE EXCEPTION 'this call is settled by statements' USING ERRCODE = 'QX001';"
_SUMS = ("cost_nano", "input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens")
_ADD = """UPDATE {table} SET calls = {table}.calls + 1, {added}
    WHERE {table}.project_id = the_project AND {table}.{moment} = {at} AND {table}.source = event.source
      AND {table}.provider = event.provider AND {table}.model = event.model AND {table}.run_kind = kind
      AND {table}.status = event.status;
    IF NOT FOUND THEN
        INSERT INTO {table} (project_id, {moment}, source, provider, model, run_kind, status,
            calls, unpriced_calls, {names})
        VALUES (the_project, {at}, event.source, event.provider, event.model, kind, event.status, 1, 0, {values})
        ON CONFLICT (project_id, {moment}, source, provider, model, run_kind, status) DO UPDATE SET
            calls = {table}.calls + 1, {added};
    END IF;"""

_LATE = "open_calls.lease_until < at"
_OPEN = FORMER[0].replace(_LATE, f"{_LATE} AND open_calls.lease_until > 0")
"""With the condition of the index of late calls."""


def _adding(table: str, moment: str, at: str) -> str:
    values = {name: f"coalesce(event.{name}, 0)" for name in _SUMS}
    added = ", ".join(f"{name} = {table}.{name} + {value}" for name, value in values.items())
    listed = {"names": ", ".join(values), "values": ", ".join(values.values())}
    return _ADD.format(table=table, moment=moment, at=at, added=added, **listed)


_SETTLE = f"""
CREATE OR REPLACE FUNCTION qodex_settle_call(told jsonb) RETURNS jsonb LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    event usage_events := jsonb_populate_record(NULL::usage_events, told->'event');
    the_project text := event.project_id;
    spent bigint := event.cost_nano;
    used bigint := (told->>'used')::bigint;
    at bigint := {_NOW.format(told="told")};
    held bigint;
    account record;
    budget record;
    told_at bigint;
    the_hour bigint;
    the_day bigint;
    kind text := coalesce(event.run_kind, '');
BEGIN
    IF at < {_EARLIEST} OR at >= {_LATEST} THEN
        RETURN NULL;
    END IF;
    IF told->>'platform_last4' IS NOT NULL AND EXISTS (SELECT FROM platform_key_health
        WHERE platform_key_health.provider = event.provider
          AND platform_key_health.last4 = told->>'platform_last4') THEN
        RETURN NULL;
    END IF;
    -- As below, where the account is locked: seen here already, it costs no error, which the server would log.
    IF event.source = 'platform' AND EXISTS (SELECT FROM accounts
        JOIN open_calls ON open_calls.project_id = the_project AND open_calls.event_id = event.event_id
        WHERE accounts.project_id = the_project
          AND (accounts.last_settled_at > at + {_LEAP} OR at >= accounts.alert_after
            OR accounts.counted_nano + spent + accounts.reserved_nano - open_calls.ceiling_nano
              >= accounts.alert_above_nano)) THEN
        RETURN NULL;
    END IF;
    DELETE FROM open_calls
    WHERE open_calls.project_id = the_project AND open_calls.event_id = event.event_id
    RETURNING open_calls.ceiling_nano INTO held;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    event.occurred_at := at;
    IF event.source = 'platform' THEN
        UPDATE accounts SET sequence = accounts.sequence + 1, counted_nano = accounts.counted_nano + spent,
            reserved_nano = accounts.reserved_nano - held,
            last_settled_at = greatest(accounts.last_settled_at, at)
        WHERE accounts.project_id = the_project
        RETURNING accounts.sequence, accounts.counted_nano, accounts.unknown_nano, accounts.reserved_nano,
            accounts.last_settled_at, accounts.alert_above_nano, accounts.alert_after INTO account;
        IF NOT FOUND OR account.last_settled_at > at + {_LEAP} OR at >= account.alert_after
            OR account.counted_nano + account.reserved_nano >= account.alert_above_nano THEN
            {_LONG_WAY}
        END IF;
        event.occurred_at := account.last_settled_at;
        event.sequence := account.sequence;
        event.counted_after_nano := account.counted_nano;
        event.unknown_after_nano := account.unknown_nano;
    END IF;
    the_hour := event.occurred_at - event.occurred_at % {_HOUR};
    the_day := CASE WHEN event.occurred_at < (told->>'day')::bigint THEN NULL
        WHEN event.occurred_at < (told->>'next_day')::bigint THEN (told->>'day')::bigint
        WHEN event.occurred_at < (told->>'day_after')::bigint THEN (told->>'next_day')::bigint END;
    IF the_day IS NULL THEN
        {_LONG_WAY}
    END IF;
    INSERT INTO usage_events VALUES (event.*);
    {_adding("usage_hourly", "hour_at", "the_hour")}
    {_adding("usage_daily", "day_at", "the_day")}
    -- Who changes the zone locks the days, so that it is this one for as long as this transaction lasts.
    IF NOT EXISTS (SELECT FROM rollup_zone WHERE rollup_zone.zone = told->>'zone') THEN
        {_LONG_WAY}
    END IF;
    UPDATE runs SET calls = runs.calls + 1, failed_calls = runs.failed_calls + (event.status <> 'ok')::int,
        tokens = runs.tokens + used,
        platform_calls = runs.platform_calls + (event.source = 'platform')::int,
        byok_calls = runs.byok_calls + (event.source = 'byok')::int,
        platform_nano = runs.platform_nano + CASE WHEN event.source = 'platform' THEN spent ELSE 0 END,
        byok_nano = runs.byok_nano + CASE WHEN event.source = 'byok' THEN spent ELSE 0 END,
        last4 = event.key_last4
    WHERE runs.project_id = the_project AND runs.run_id = event.run_id
    RETURNING runs.tokens, runs.token_budget, runs.budget_warned_at INTO budget;
    IF NOT FOUND OR (budget.budget_warned_at IS NULL AND 100 * budget.tokens >= 80 * budget.token_budget) THEN
        {_LONG_WAY}
    END IF;
    IF (told->>'key_works')::boolean THEN
        UPDATE provider_keys SET used_at = at, used_by_run = event.run_id, worked_at = at, obstacle = NULL,
            check_code = CASE WHEN provider_keys.check_code = told->>'kept_code' THEN provider_keys.check_code END,
            check_message = CASE WHEN provider_keys.check_code = told->>'kept_code'
                THEN provider_keys.check_message END,
            failing_since = NULL, failure = NULL, failure_status = NULL, failure_code = NULL,
            failure_message = NULL, failure_request_id = NULL
        WHERE provider_keys.project_id = the_project AND provider_keys.provider = event.provider
          AND provider_keys.version = (told->>'key_version')::int
        RETURNING provider_keys.failure_told_at INTO told_at;
        IF told_at IS NOT NULL THEN
            {_LONG_WAY}
        END IF;
    ELSIF told->>'key_version' IS NOT NULL THEN
        UPDATE provider_keys SET used_at = at, used_by_run = event.run_id
        WHERE provider_keys.project_id = the_project AND provider_keys.provider = event.provider
          AND provider_keys.version = (told->>'key_version')::int;
    END IF;
    RETURN jsonb_build_object('occurred_at', event.occurred_at, 'sequence', event.sequence,
        'counted_after_nano', event.counted_after_nano, 'unknown_after_nano', event.unknown_after_nano);
END $$
"""  # noqa: S608  # nosec B608 - of constants


FUNCTIONS = (_OPEN, _SETTLE)
