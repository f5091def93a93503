-- Distributes an existing Qodex database over the machines of a Citus cluster, by project (docs/scale.md).
-- psql --single-transaction --set ON_ERROR_STOP=1 --file deploy/citus.sql "postgresql://…": on the coordinator, with all workers and
-- dashboards stopped, after a backup. The nodes have been added, and CREATE EXTENSION citus has run.

-- Roll-ups keep totals by triggers. They write rows of the same project, which lie on the same machine: what the
-- setting is called unsafe for does not happen here. Session by session would not do: calls fire them.
ALTER DATABASE :"DBNAME" SET citus.enable_unsafe_triggers = on;
SET citus.enable_unsafe_triggers = on;

-- They come back at the end: the rows that are moved to their machines now are in the sums already.
DROP TRIGGER usage_hourly_totals_insert ON usage_hourly;
DROP TRIGGER usage_hourly_totals_update ON usage_hourly;
DROP TRIGGER usage_hourly_totals_delete ON usage_hourly;
DROP TRIGGER usage_daily_insert ON usage_daily;
DROP TRIGGER usage_daily_update ON usage_daily;
DROP TRIGGER usage_daily_delete ON usage_daily;
DROP TRIGGER usage_daily_models_insert ON usage_daily;
DROP TRIGGER usage_daily_models_update ON usage_daily;
DROP TRIGGER usage_daily_models_delete ON usage_daily;
DROP TRIGGER usage_daily_caching_insert ON usage_events;
DROP TRIGGER usage_daily_caching_update ON usage_events;

-- So does this one: while Citus makes a reference table it would rename the rules of a partitioned table that refers to it.
ALTER TABLE usage_events DROP CONSTRAINT fk_usage_events_project_id;

-- Small tables that statements of a call join or refer to: a copy on each machine.
SELECT create_reference_table('plans');
SELECT create_reference_table('projects');
SELECT create_reference_table('rollup_zone');
SELECT create_reference_table('platform_key_health');
SELECT create_reference_table('deployment');

-- Neither of the two can be distributed while one refers to the other.
ALTER TABLE run_log DROP CONSTRAINT fk_run_log_project_id;

-- Each project's rows lie together.
SELECT create_distributed_table('accounts', 'project_id');
SELECT create_distributed_table(name, 'project_id', colocate_with => 'accounts') FROM unnest(ARRAY[
    'cap_overrides', 'cap_requests', 'forecasts', 'project_labels', 'provider_keys',
    'runs', 'run_log', 'open_calls', 'usage_events',
    'usage_hourly_totals', 'usage_daily_totals', 'usage_daily_models', 'usage_models', 'usage_daily_caching',
    'usage_hourly', 'usage_daily',
    'alert_states', 'alert_events', 'alert_deliveries', 'alert_channels', 'alert_settings', 'alert_mutes',
    'alert_opt_outs'
]) AS name;
ALTER TABLE run_log ADD CONSTRAINT fk_run_log_project_id
    FOREIGN KEY (project_id, run_id) REFERENCES runs (project_id, run_id) ON DELETE CASCADE;
ALTER TABLE usage_events ADD CONSTRAINT fk_usage_events_project_id
    FOREIGN KEY (project_id) REFERENCES projects (id) ON DELETE CASCADE;

-- The sums of caching, row by row: a trigger on a shard has no table of the rows of its statement (migrations 0014 and 0019 have one).
CREATE OR REPLACE FUNCTION usage_daily_caching_insert() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO usage_daily_caching (project_id, day_at, source, provider, model, run_kind, status, calls,
    unknown_calls, read_tokens, saved_nano, written_tokens, extra_nano) VALUES (NEW.project_id, NEW.occurred_at -
    NEW.occurred_at % 86400000000, NEW.source, NEW.provider, NEW.model, coalesce(NEW.run_kind, ''), NEW.status, 1,
    CASE WHEN coalesce(NEW.price_input BETWEEN 0 AND 1000000000000, false) AND (coalesce(NEW.cached_input_tokens, 0) =
    0 OR (coalesce(NEW.cached_input_tokens, 0) <= 1000000000 AND coalesce(NEW.price_cached_input BETWEEN 0 AND
    1000000000000, false))) AND (coalesce(NEW.cache_write_tokens, 0) = 0 OR (coalesce(NEW.cache_write_tokens, 0) <=
    1000000000 AND coalesce(NEW.price_cache_write BETWEEN 0 AND 1000000000000, false))) AND
    (coalesce(NEW.cache_write_1h_tokens, 0) = 0 OR (coalesce(NEW.cache_write_1h_tokens, 0) <= 1000000000 AND
    coalesce(NEW.price_cache_write_1h BETWEEN 0 AND 1000000000000, false))) THEN 0 ELSE 1 END, CASE WHEN
    coalesce(NEW.price_input BETWEEN 0 AND 1000000000000, false) AND (coalesce(NEW.cached_input_tokens, 0) = 0 OR
    (coalesce(NEW.cached_input_tokens, 0) <= 1000000000 AND coalesce(NEW.price_cached_input BETWEEN 0 AND
    1000000000000, false))) AND (coalesce(NEW.cache_write_tokens, 0) = 0 OR (coalesce(NEW.cache_write_tokens, 0) <=
    1000000000 AND coalesce(NEW.price_cache_write BETWEEN 0 AND 1000000000000, false))) AND
    (coalesce(NEW.cache_write_1h_tokens, 0) = 0 OR (coalesce(NEW.cache_write_1h_tokens, 0) <= 1000000000 AND
    coalesce(NEW.price_cache_write_1h BETWEEN 0 AND 1000000000000, false))) THEN coalesce(NEW.cached_input_tokens, 0)
    ELSE 0 END, CASE WHEN coalesce(NEW.price_input BETWEEN 0 AND 1000000000000, false) AND
    (coalesce(NEW.cached_input_tokens, 0) = 0 OR (coalesce(NEW.cached_input_tokens, 0) <= 1000000000 AND
    coalesce(NEW.price_cached_input BETWEEN 0 AND 1000000000000, false))) AND (coalesce(NEW.cache_write_tokens, 0) = 0
    OR (coalesce(NEW.cache_write_tokens, 0) <= 1000000000 AND coalesce(NEW.price_cache_write BETWEEN 0 AND
    1000000000000, false))) AND (coalesce(NEW.cache_write_1h_tokens, 0) = 0 OR (coalesce(NEW.cache_write_1h_tokens, 0)
    <= 1000000000 AND coalesce(NEW.price_cache_write_1h BETWEEN 0 AND 1000000000000, false))) THEN
    coalesce(NEW.cached_input_tokens, 0) * ((NEW.price_input - coalesce(NEW.price_cached_input, 0)) / 1000000) +
    (coalesce(NEW.cached_input_tokens, 0) * ((NEW.price_input - coalesce(NEW.price_cached_input, 0)) % 1000000) +
    500000) / 1000000 ELSE 0 END, CASE WHEN coalesce(NEW.price_input BETWEEN 0 AND 1000000000000, false) AND
    (coalesce(NEW.cached_input_tokens, 0) = 0 OR (coalesce(NEW.cached_input_tokens, 0) <= 1000000000 AND
    coalesce(NEW.price_cached_input BETWEEN 0 AND 1000000000000, false))) AND (coalesce(NEW.cache_write_tokens, 0) = 0
    OR (coalesce(NEW.cache_write_tokens, 0) <= 1000000000 AND coalesce(NEW.price_cache_write BETWEEN 0 AND
    1000000000000, false))) AND (coalesce(NEW.cache_write_1h_tokens, 0) = 0 OR (coalesce(NEW.cache_write_1h_tokens, 0)
    <= 1000000000 AND coalesce(NEW.price_cache_write_1h BETWEEN 0 AND 1000000000000, false))) THEN
    coalesce(NEW.cache_write_tokens, 0) + coalesce(NEW.cache_write_1h_tokens, 0) ELSE 0 END, CASE WHEN
    coalesce(NEW.price_input BETWEEN 0 AND 1000000000000, false) AND (coalesce(NEW.cached_input_tokens, 0) = 0 OR
    (coalesce(NEW.cached_input_tokens, 0) <= 1000000000 AND coalesce(NEW.price_cached_input BETWEEN 0 AND
    1000000000000, false))) AND (coalesce(NEW.cache_write_tokens, 0) = 0 OR (coalesce(NEW.cache_write_tokens, 0) <=
    1000000000 AND coalesce(NEW.price_cache_write BETWEEN 0 AND 1000000000000, false))) AND
    (coalesce(NEW.cache_write_1h_tokens, 0) = 0 OR (coalesce(NEW.cache_write_1h_tokens, 0) <= 1000000000 AND
    coalesce(NEW.price_cache_write_1h BETWEEN 0 AND 1000000000000, false))) THEN coalesce(NEW.cache_write_tokens, 0) *
    ((coalesce(NEW.price_cache_write, 0) - NEW.price_input) / 1000000) + (coalesce(NEW.cache_write_tokens, 0) *
    ((coalesce(NEW.price_cache_write, 0) - NEW.price_input) % 1000000) + 500000) / 1000000 +
    coalesce(NEW.cache_write_1h_tokens, 0) * ((coalesce(NEW.price_cache_write_1h, 0) - NEW.price_input) / 1000000) +
    (coalesce(NEW.cache_write_1h_tokens, 0) * ((coalesce(NEW.price_cache_write_1h, 0) - NEW.price_input) % 1000000) +
    500000) / 1000000 ELSE 0 END) ON CONFLICT (project_id, day_at, source, provider, model, run_kind, status) DO
    UPDATE SET calls = usage_daily_caching.calls + excluded.calls, unknown_calls = usage_daily_caching.unknown_calls +
    excluded.unknown_calls, read_tokens = usage_daily_caching.read_tokens + excluded.read_tokens, saved_nano =
    usage_daily_caching.saved_nano + excluded.saved_nano, written_tokens = usage_daily_caching.written_tokens +
    excluded.written_tokens, extra_nano = usage_daily_caching.extra_nano + excluded.extra_nano;
    RETURN NULL;
END $$;
CREATE TRIGGER usage_daily_caching_insert AFTER INSERT ON usage_events FOR EACH ROW
    WHEN ((coalesce(NEW.cached_input_tokens, 0) > 0 OR coalesce(NEW.cache_write_tokens, 0) > 0 OR coalesce(NEW.cache_write_1h_tokens, 0) > 0))
    EXECUTE FUNCTION usage_daily_caching_insert();
CREATE OR REPLACE FUNCTION usage_daily_caching_update() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    UPDATE usage_daily_caching SET calls = calls - (1), unknown_calls = unknown_calls - (CASE WHEN
    coalesce(OLD.price_input BETWEEN 0 AND 1000000000000, false) AND (coalesce(OLD.cached_input_tokens, 0) = 0 OR
    (coalesce(OLD.cached_input_tokens, 0) <= 1000000000 AND coalesce(OLD.price_cached_input BETWEEN 0 AND
    1000000000000, false))) AND (coalesce(OLD.cache_write_tokens, 0) = 0 OR (coalesce(OLD.cache_write_tokens, 0) <=
    1000000000 AND coalesce(OLD.price_cache_write BETWEEN 0 AND 1000000000000, false))) AND
    (coalesce(OLD.cache_write_1h_tokens, 0) = 0 OR (coalesce(OLD.cache_write_1h_tokens, 0) <= 1000000000 AND
    coalesce(OLD.price_cache_write_1h BETWEEN 0 AND 1000000000000, false))) THEN 0 ELSE 1 END), read_tokens =
    read_tokens - (CASE WHEN coalesce(OLD.price_input BETWEEN 0 AND 1000000000000, false) AND
    (coalesce(OLD.cached_input_tokens, 0) = 0 OR (coalesce(OLD.cached_input_tokens, 0) <= 1000000000 AND
    coalesce(OLD.price_cached_input BETWEEN 0 AND 1000000000000, false))) AND (coalesce(OLD.cache_write_tokens, 0) = 0
    OR (coalesce(OLD.cache_write_tokens, 0) <= 1000000000 AND coalesce(OLD.price_cache_write BETWEEN 0 AND
    1000000000000, false))) AND (coalesce(OLD.cache_write_1h_tokens, 0) = 0 OR (coalesce(OLD.cache_write_1h_tokens, 0)
    <= 1000000000 AND coalesce(OLD.price_cache_write_1h BETWEEN 0 AND 1000000000000, false))) THEN
    coalesce(OLD.cached_input_tokens, 0) ELSE 0 END), saved_nano = saved_nano - (CASE WHEN coalesce(OLD.price_input
    BETWEEN 0 AND 1000000000000, false) AND (coalesce(OLD.cached_input_tokens, 0) = 0 OR
    (coalesce(OLD.cached_input_tokens, 0) <= 1000000000 AND coalesce(OLD.price_cached_input BETWEEN 0 AND
    1000000000000, false))) AND (coalesce(OLD.cache_write_tokens, 0) = 0 OR (coalesce(OLD.cache_write_tokens, 0) <=
    1000000000 AND coalesce(OLD.price_cache_write BETWEEN 0 AND 1000000000000, false))) AND
    (coalesce(OLD.cache_write_1h_tokens, 0) = 0 OR (coalesce(OLD.cache_write_1h_tokens, 0) <= 1000000000 AND
    coalesce(OLD.price_cache_write_1h BETWEEN 0 AND 1000000000000, false))) THEN coalesce(OLD.cached_input_tokens, 0)
    * ((OLD.price_input - coalesce(OLD.price_cached_input, 0)) / 1000000) + (coalesce(OLD.cached_input_tokens, 0) *
    ((OLD.price_input - coalesce(OLD.price_cached_input, 0)) % 1000000) + 500000) / 1000000 ELSE 0 END),
    written_tokens = written_tokens - (CASE WHEN coalesce(OLD.price_input BETWEEN 0 AND 1000000000000, false) AND
    (coalesce(OLD.cached_input_tokens, 0) = 0 OR (coalesce(OLD.cached_input_tokens, 0) <= 1000000000 AND
    coalesce(OLD.price_cached_input BETWEEN 0 AND 1000000000000, false))) AND (coalesce(OLD.cache_write_tokens, 0) = 0
    OR (coalesce(OLD.cache_write_tokens, 0) <= 1000000000 AND coalesce(OLD.price_cache_write BETWEEN 0 AND
    1000000000000, false))) AND (coalesce(OLD.cache_write_1h_tokens, 0) = 0 OR (coalesce(OLD.cache_write_1h_tokens, 0)
    <= 1000000000 AND coalesce(OLD.price_cache_write_1h BETWEEN 0 AND 1000000000000, false))) THEN
    coalesce(OLD.cache_write_tokens, 0) + coalesce(OLD.cache_write_1h_tokens, 0) ELSE 0 END), extra_nano = extra_nano
    - (CASE WHEN coalesce(OLD.price_input BETWEEN 0 AND 1000000000000, false) AND (coalesce(OLD.cached_input_tokens,
    0) = 0 OR (coalesce(OLD.cached_input_tokens, 0) <= 1000000000 AND coalesce(OLD.price_cached_input BETWEEN 0 AND
    1000000000000, false))) AND (coalesce(OLD.cache_write_tokens, 0) = 0 OR (coalesce(OLD.cache_write_tokens, 0) <=
    1000000000 AND coalesce(OLD.price_cache_write BETWEEN 0 AND 1000000000000, false))) AND
    (coalesce(OLD.cache_write_1h_tokens, 0) = 0 OR (coalesce(OLD.cache_write_1h_tokens, 0) <= 1000000000 AND
    coalesce(OLD.price_cache_write_1h BETWEEN 0 AND 1000000000000, false))) THEN coalesce(OLD.cache_write_tokens, 0) *
    ((coalesce(OLD.price_cache_write, 0) - OLD.price_input) / 1000000) + (coalesce(OLD.cache_write_tokens, 0) *
    ((coalesce(OLD.price_cache_write, 0) - OLD.price_input) % 1000000) + 500000) / 1000000 +
    coalesce(OLD.cache_write_1h_tokens, 0) * ((coalesce(OLD.price_cache_write_1h, 0) - OLD.price_input) / 1000000) +
    (coalesce(OLD.cache_write_1h_tokens, 0) * ((coalesce(OLD.price_cache_write_1h, 0) - OLD.price_input) % 1000000) +
    500000) / 1000000 ELSE 0 END) WHERE project_id = OLD.project_id AND day_at = OLD.occurred_at - OLD.occurred_at %
    86400000000 AND source = OLD.source AND provider = OLD.provider AND model = OLD.model AND run_kind =
    coalesce(OLD.run_kind, '') AND status = OLD.status; DELETE FROM usage_daily_caching WHERE project_id =
    OLD.project_id AND day_at = OLD.occurred_at - OLD.occurred_at % 86400000000 AND source = OLD.source AND provider =
    OLD.provider AND model = OLD.model AND run_kind = coalesce(OLD.run_kind, '') AND status = OLD.status AND calls =
    0; INSERT INTO usage_daily_caching (project_id, day_at, source, provider, model, run_kind, status, calls,
    unknown_calls, read_tokens, saved_nano, written_tokens, extra_nano) VALUES (NEW.project_id, NEW.occurred_at -
    NEW.occurred_at % 86400000000, NEW.source, NEW.provider, NEW.model, coalesce(NEW.run_kind, ''), NEW.status, 1,
    CASE WHEN coalesce(NEW.price_input BETWEEN 0 AND 1000000000000, false) AND (coalesce(NEW.cached_input_tokens, 0) =
    0 OR (coalesce(NEW.cached_input_tokens, 0) <= 1000000000 AND coalesce(NEW.price_cached_input BETWEEN 0 AND
    1000000000000, false))) AND (coalesce(NEW.cache_write_tokens, 0) = 0 OR (coalesce(NEW.cache_write_tokens, 0) <=
    1000000000 AND coalesce(NEW.price_cache_write BETWEEN 0 AND 1000000000000, false))) AND
    (coalesce(NEW.cache_write_1h_tokens, 0) = 0 OR (coalesce(NEW.cache_write_1h_tokens, 0) <= 1000000000 AND
    coalesce(NEW.price_cache_write_1h BETWEEN 0 AND 1000000000000, false))) THEN 0 ELSE 1 END, CASE WHEN
    coalesce(NEW.price_input BETWEEN 0 AND 1000000000000, false) AND (coalesce(NEW.cached_input_tokens, 0) = 0 OR
    (coalesce(NEW.cached_input_tokens, 0) <= 1000000000 AND coalesce(NEW.price_cached_input BETWEEN 0 AND
    1000000000000, false))) AND (coalesce(NEW.cache_write_tokens, 0) = 0 OR (coalesce(NEW.cache_write_tokens, 0) <=
    1000000000 AND coalesce(NEW.price_cache_write BETWEEN 0 AND 1000000000000, false))) AND
    (coalesce(NEW.cache_write_1h_tokens, 0) = 0 OR (coalesce(NEW.cache_write_1h_tokens, 0) <= 1000000000 AND
    coalesce(NEW.price_cache_write_1h BETWEEN 0 AND 1000000000000, false))) THEN coalesce(NEW.cached_input_tokens, 0)
    ELSE 0 END, CASE WHEN coalesce(NEW.price_input BETWEEN 0 AND 1000000000000, false) AND
    (coalesce(NEW.cached_input_tokens, 0) = 0 OR (coalesce(NEW.cached_input_tokens, 0) <= 1000000000 AND
    coalesce(NEW.price_cached_input BETWEEN 0 AND 1000000000000, false))) AND (coalesce(NEW.cache_write_tokens, 0) = 0
    OR (coalesce(NEW.cache_write_tokens, 0) <= 1000000000 AND coalesce(NEW.price_cache_write BETWEEN 0 AND
    1000000000000, false))) AND (coalesce(NEW.cache_write_1h_tokens, 0) = 0 OR (coalesce(NEW.cache_write_1h_tokens, 0)
    <= 1000000000 AND coalesce(NEW.price_cache_write_1h BETWEEN 0 AND 1000000000000, false))) THEN
    coalesce(NEW.cached_input_tokens, 0) * ((NEW.price_input - coalesce(NEW.price_cached_input, 0)) / 1000000) +
    (coalesce(NEW.cached_input_tokens, 0) * ((NEW.price_input - coalesce(NEW.price_cached_input, 0)) % 1000000) +
    500000) / 1000000 ELSE 0 END, CASE WHEN coalesce(NEW.price_input BETWEEN 0 AND 1000000000000, false) AND
    (coalesce(NEW.cached_input_tokens, 0) = 0 OR (coalesce(NEW.cached_input_tokens, 0) <= 1000000000 AND
    coalesce(NEW.price_cached_input BETWEEN 0 AND 1000000000000, false))) AND (coalesce(NEW.cache_write_tokens, 0) = 0
    OR (coalesce(NEW.cache_write_tokens, 0) <= 1000000000 AND coalesce(NEW.price_cache_write BETWEEN 0 AND
    1000000000000, false))) AND (coalesce(NEW.cache_write_1h_tokens, 0) = 0 OR (coalesce(NEW.cache_write_1h_tokens, 0)
    <= 1000000000 AND coalesce(NEW.price_cache_write_1h BETWEEN 0 AND 1000000000000, false))) THEN
    coalesce(NEW.cache_write_tokens, 0) + coalesce(NEW.cache_write_1h_tokens, 0) ELSE 0 END, CASE WHEN
    coalesce(NEW.price_input BETWEEN 0 AND 1000000000000, false) AND (coalesce(NEW.cached_input_tokens, 0) = 0 OR
    (coalesce(NEW.cached_input_tokens, 0) <= 1000000000 AND coalesce(NEW.price_cached_input BETWEEN 0 AND
    1000000000000, false))) AND (coalesce(NEW.cache_write_tokens, 0) = 0 OR (coalesce(NEW.cache_write_tokens, 0) <=
    1000000000 AND coalesce(NEW.price_cache_write BETWEEN 0 AND 1000000000000, false))) AND
    (coalesce(NEW.cache_write_1h_tokens, 0) = 0 OR (coalesce(NEW.cache_write_1h_tokens, 0) <= 1000000000 AND
    coalesce(NEW.price_cache_write_1h BETWEEN 0 AND 1000000000000, false))) THEN coalesce(NEW.cache_write_tokens, 0) *
    ((coalesce(NEW.price_cache_write, 0) - NEW.price_input) / 1000000) + (coalesce(NEW.cache_write_tokens, 0) *
    ((coalesce(NEW.price_cache_write, 0) - NEW.price_input) % 1000000) + 500000) / 1000000 +
    coalesce(NEW.cache_write_1h_tokens, 0) * ((coalesce(NEW.price_cache_write_1h, 0) - NEW.price_input) / 1000000) +
    (coalesce(NEW.cache_write_1h_tokens, 0) * ((coalesce(NEW.price_cache_write_1h, 0) - NEW.price_input) % 1000000) +
    500000) / 1000000 ELSE 0 END) ON CONFLICT (project_id, day_at, source, provider, model, run_kind, status) DO
    UPDATE SET calls = usage_daily_caching.calls + excluded.calls, unknown_calls = usage_daily_caching.unknown_calls +
    excluded.unknown_calls, read_tokens = usage_daily_caching.read_tokens + excluded.read_tokens, saved_nano =
    usage_daily_caching.saved_nano + excluded.saved_nano, written_tokens = usage_daily_caching.written_tokens +
    excluded.written_tokens, extra_nano = usage_daily_caching.extra_nano + excluded.extra_nano;
    RETURN NULL;
END $$;
CREATE TRIGGER usage_daily_caching_update AFTER UPDATE OF occurred_at ON usage_events FOR EACH ROW
    WHEN ((coalesce(OLD.cached_input_tokens, 0) > 0 OR coalesce(OLD.cache_write_tokens, 0) > 0 OR coalesce(OLD.cache_write_1h_tokens, 0) > 0) AND OLD.occurred_at - OLD.occurred_at % 86400000000 <> NEW.occurred_at - NEW.occurred_at % 86400000000)
    EXECUTE FUNCTION usage_daily_caching_update();
CREATE TRIGGER usage_hourly_totals_insert AFTER INSERT ON usage_hourly FOR EACH ROW EXECUTE FUNCTION usage_hourly_totals_insert();
CREATE TRIGGER usage_hourly_totals_update AFTER UPDATE ON usage_hourly FOR EACH ROW EXECUTE FUNCTION usage_hourly_totals_update();
CREATE TRIGGER usage_hourly_totals_delete AFTER DELETE ON usage_hourly FOR EACH ROW EXECUTE FUNCTION usage_hourly_totals_delete();
CREATE TRIGGER usage_daily_insert AFTER INSERT ON usage_daily FOR EACH ROW EXECUTE FUNCTION usage_daily_insert();
CREATE TRIGGER usage_daily_update AFTER UPDATE ON usage_daily FOR EACH ROW EXECUTE FUNCTION usage_daily_update();
CREATE TRIGGER usage_daily_delete AFTER DELETE ON usage_daily FOR EACH ROW EXECUTE FUNCTION usage_daily_delete();
CREATE TRIGGER usage_daily_models_insert AFTER INSERT ON usage_daily FOR EACH ROW EXECUTE FUNCTION usage_daily_models_insert();
CREATE TRIGGER usage_daily_models_update AFTER UPDATE ON usage_daily FOR EACH ROW EXECUTE FUNCTION usage_daily_models_update();
CREATE TRIGGER usage_daily_models_delete AFTER DELETE ON usage_daily FOR EACH ROW EXECUTE FUNCTION usage_daily_models_delete();

-- Citus makes a plan for each project, because its machine is part of it; a plan for all of them it cannot make.
ALTER FUNCTION qodex_open_call(jsonb) RESET plan_cache_mode;
ALTER FUNCTION qodex_settle_call(jsonb) RESET plan_cache_mode;

-- members, sessions, audit_log, saved_views, imported_files, usage_archives and alembic_version stay on the coordinator: no statement of a call joins them.
