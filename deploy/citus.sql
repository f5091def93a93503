-- Distributes an existing Qodex database over the machines of a Citus cluster, by project (docs/scale.md).
-- psql --single-transaction --set ON_ERROR_STOP=1 --file deploy/citus.sql "postgresql://…": on the coordinator, with all workers and
-- dashboards stopped, after a backup. The nodes have been added, and CREATE EXTENSION citus has run.

-- Roll-ups keep totals by triggers. They write rows of the same project, which lie on the same machine: what the
-- setting is called unsafe for does not happen here. Session by session would not do: calls fire them.
ALTER DATABASE :"DBNAME" SET citus.enable_unsafe_triggers = on;
SET citus.enable_unsafe_triggers = on;

-- Small tables that statements of a call join or refer to: a copy on each machine.
SELECT create_reference_table('plans');
SELECT create_reference_table('projects');
SELECT create_reference_table('rollup_zone');
SELECT create_reference_table('platform_key_health');
SELECT create_reference_table('deployment');

-- Each project's rows lie together. Those that others refer to come first.
SELECT create_distributed_table('accounts', 'project_id');
SELECT create_distributed_table(name, 'project_id', colocate_with => 'accounts') FROM unnest(ARRAY[
    'cap_overrides', 'cap_requests', 'forecasts', 'project_labels', 'provider_keys',
    'runs', 'run_log', 'open_calls', 'usage_events',
    'usage_hourly_totals', 'usage_daily_totals', 'usage_daily_models', 'usage_models', 'usage_daily_caching',
    'usage_hourly', 'usage_daily',
    'alert_states', 'alert_events', 'alert_deliveries', 'alert_channels', 'alert_settings', 'alert_mutes',
    'alert_opt_outs'
]) AS name;

-- members, sessions, audit_log, saved_views, imported_files, usage_archives and alembic_version stay on the coordinator: no statement of a call joins them.
