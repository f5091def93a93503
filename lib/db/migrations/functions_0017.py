"""Functions that open and settle a plain call in one round trip, on PostgreSQL (lib.ledger.one_trip calls them): step 0017.

They do what the ledger does by statements, in the same order of locks, for a call of which nothing is to be said: it
fits, its run goes on, no alert is due, no key changes its state. Where anything is out of the ordinary they change
nothing: they return NULL, or, where something is written already, fail with SQLSTATE QX001, which undoes it. Then the
ledger takes the long way, which knows what to say.

Each statement has the same best plan for every project, so that none is planned anew for its values.

Workers of this version go on calling them after later migrations: a function whose arguments or meaning change gets
another name. Columns that come to the tables need no change here as long as they may be NULL.
"""

from __future__ import annotations

_HOUR = 3_600_000_000
_LEAP = 7 * 24 * _HOUR + _HOUR  # lib.usage.clock_leaps
_EARLIEST, _LATEST = 1_577_836_800_000_000, 7_258_118_400_000_000  # lib.db.engine
_SUMS = (
    *("calls", "unpriced_calls", "cost_nano"),
    *("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens"),
)
_DIMENSIONS = "source, provider, model, run_kind, status"
_NOW = "coalesce(({told}->>'now')::bigint, CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint))"

# The totals are read before the account is locked: they lie hours back, and an older one is only smaller.
_BEFORE = """CASE WHEN provider_keys.version IS NULL THEN coalesce((
        SELECT usage_events.counted_after_nano FROM usage_events
        WHERE usage_events.project_id = the_project AND usage_events.sequence IS NOT NULL
          AND usage_events.occurred_at <= at - {length}
        ORDER BY usage_events.occurred_at DESC, usage_events.sequence DESC LIMIT 1), 0) END AS before_{name}"""
_OVERRIDDEN = """CASE WHEN cap_overrides.cap_{name}_nano IS NULL OR cap_overrides.ends_at <= at
        THEN plans.cap_{name}_nano ELSE cap_overrides.cap_{name}_nano END AS cap_{name}"""
_FITS = "accounts.counted_nano - known.before_{name} + accounts.reserved_nano + ceiling <= known.cap_{name}"

_OPEN = f"""
CREATE OR REPLACE FUNCTION qodex_open_call(asked jsonb) RETURNS jsonb LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET bytea_output = hex AS $$
DECLARE
    the_project text := asked->>'project';
    the_run text := asked->>'run_id';
    the_provider text := asked->>'provider';
    ceiling bigint := (asked->>'ceiling')::bigint;
    at bigint := {_NOW.format(told="asked")};
    known record;
BEGIN
    IF at < {_EARLIEST} OR at >= {_LATEST} THEN
        RETURN NULL;
    END IF;
    SELECT runs.project_id, runs.run_id, runs.kind, projects.slug, projects.on_key_failure,
        projects.sealed_keys, projects.seal_master_key_id, projects.seal,
        provider_keys.provider, provider_keys.version, provider_keys.secret_id, provider_keys.last4,
        provider_keys.scheme, provider_keys.master_key_id, provider_keys.sealed_data_key,
        provider_keys.sealed_value, plans.default_output_limit, at AS now,
        cap_overrides.ends_at AS override_ends_at,
        {_OVERRIDDEN.format(name="5h")},
        {_OVERRIDDEN.format(name="7d")},
        {_BEFORE.format(name="5h", length=5 * _HOUR)},
        {_BEFORE.format(name="7d", length=7 * 24 * _HOUR)}
    INTO known
    FROM runs
    JOIN projects ON projects.id = the_project
    JOIN plans ON plans.name = projects.plan
    LEFT JOIN cap_overrides ON cap_overrides.project_id = the_project
    LEFT JOIN provider_keys ON provider_keys.project_id = the_project
        AND provider_keys.provider = the_provider AND provider_keys.ended_at IS NULL
    WHERE runs.project_id = the_project AND runs.run_id = the_run
      AND runs.status = 'running' AND runs.ended_at IS NULL
      AND (runs.token_budget IS NULL OR runs.tokens < runs.token_budget)
      AND provider_keys.locked_since IS NULL
      AND NOT EXISTS (SELECT FROM open_calls
        WHERE open_calls.project_id = the_project AND open_calls.lease_until < at);
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    IF known.version IS NULL THEN
        IF ceiling IS NULL OR known.default_output_limit <> (asked->>'output_limit')::int THEN
            RETURN NULL;
        END IF;
        UPDATE accounts SET reserved_nano = accounts.reserved_nano + ceiling,
            last_settled_at = greatest(accounts.last_settled_at, at),
            alert_above_nano = CASE WHEN accounts.alert_cap_5h_nano IS DISTINCT FROM known.cap_5h
                OR accounts.alert_cap_7d_nano IS DISTINCT FROM known.cap_7d
                THEN 0 ELSE accounts.alert_above_nano END
        WHERE accounts.project_id = the_project AND accounts.last_settled_at <= at + {_LEAP}
          -- An override that has ended stays so, though the clock has gone back since.
          AND (known.override_ends_at <= at OR accounts.last_settled_at < known.override_ends_at) IS NOT FALSE
          AND (ceiling = 0 OR ({_FITS.format(name="5h")} AND {_FITS.format(name="7d")}));
        IF NOT FOUND THEN
            RETURN NULL;
        END IF;
    END IF;
    INSERT INTO open_calls (project_id, event_id, run_id, source, provider, model, endpoint, key_last4, key_version,
        opened_at, lease_until, ceiling_nano)
    VALUES (the_project, asked->>'event_id', the_run,
        CASE WHEN known.version IS NULL THEN 'platform' ELSE 'byok' END, the_provider, asked->>'model',
        asked->>'endpoint', coalesce(known.last4, asked->>'platform_last4'), known.version,
        at, at + (asked->>'lease')::bigint, CASE WHEN known.version IS NULL THEN ceiling END);
    RETURN to_jsonb(known);
END $$
"""  # noqa: S608  # nosec B608 - of constants

_ADD = """INSERT INTO {table} VALUES ({row}.*)
    ON CONFLICT (project_id, {moment}, {dimensions}) DO UPDATE SET {added};"""
_LONG_WAY = "RAISE EXCEPTION 'this call is settled by statements' USING ERRCODE = 'QX001';"


def _adding(table: str, row: str, moment: str) -> str:
    added = ", ".join(f"{name} = {table}.{name} + excluded.{name}" for name in _SUMS)
    return _ADD.format(table=table, row=row, moment=moment, dimensions=_DIMENSIONS, added=added)


_SETTLE = f"""
CREATE OR REPLACE FUNCTION qodex_settle_call(told jsonb) RETURNS jsonb LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    event usage_events := jsonb_populate_record(NULL::usage_events, told->'event');
    by_hour usage_hourly := jsonb_populate_record(NULL::usage_hourly, told->'sums');
    by_day usage_daily := jsonb_populate_record(NULL::usage_daily, told->'sums');
    the_project text := told->'event'->>'project_id';
    spent bigint := (told->'event'->>'cost_nano')::bigint;
    used bigint := (told->>'used')::bigint;
    at bigint := {_NOW.format(told="told")};
    held bigint;
    account record;
    budget record;
    told_at bigint;
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
    by_hour.hour_at := event.occurred_at - event.occurred_at % {_HOUR};
    by_day.day_at := CASE WHEN event.occurred_at < (told->>'day')::bigint THEN NULL
        WHEN event.occurred_at < (told->>'next_day')::bigint THEN (told->>'day')::bigint
        WHEN event.occurred_at < (told->>'day_after')::bigint THEN (told->>'next_day')::bigint END;
    IF by_day.day_at IS NULL THEN
        {_LONG_WAY}
    END IF;
    INSERT INTO usage_events VALUES (event.*);
    {_adding("usage_hourly", "by_hour", "hour_at")}
    {_adding("usage_daily", "by_day", "day_at")}
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
