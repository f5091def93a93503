"""``qodex_open_call`` for events that may be partitioned by month: step 0019. The rest is as in functions_0017.

What a window began with is the running total of the newest call before it, which may be years old. So that not each
part of the table is opened for it, it is looked for in the weeks before first. Where there is none either the project's
calls began since, which their first number says, or it had no calls for long: only then all parts are asked.
"""

from __future__ import annotations

from lib.db.migrations import functions_0017

_DAY = 86_400_000_000
_WEEKS = 35 * _DAY
_LENGTHS = {"5h": _DAY // 24 * 5, "7d": 7 * _DAY}
_NEWEST = """SELECT usage_events.counted_after_nano FROM usage_events
        WHERE usage_events.project_id = the_project AND usage_events.sequence IS NOT NULL
          AND usage_events.occurred_at <= at - {length}{since}
        ORDER BY usage_events.occurred_at DESC, usage_events.sequence DESC LIMIT 1"""
_RECENT = "CASE WHEN provider_keys.version IS NULL THEN ({newest}) END AS before_{name}"
_ANY = """        IF known.before_{name} IS NULL AND first_sequence IS DISTINCT FROM 1 THEN
            known.before_{name} := ({newest});
        END IF;
        known.before_{name} := coalesce(known.before_{name}, 0);
"""
_LOOK_FURTHER = f"""        IF known.before_5h IS NULL OR known.before_7d IS NULL THEN
            SELECT usage_events.sequence INTO first_sequence FROM usage_events
            WHERE usage_events.project_id = the_project AND usage_events.sequence IS NOT NULL
              AND usage_events.occurred_at > at - {_LENGTHS["7d"] + _WEEKS}
            ORDER BY usage_events.occurred_at, usage_events.sequence LIMIT 1;
{"".join(_ANY.format(name=name, newest=_NEWEST.format(length=length, since="")) for name, length in _LENGTHS.items())}        END IF;
"""  # noqa: S608  # nosec B608 - of constants


def _changed() -> str:
    body, *_ = functions_0017.FUNCTIONS
    for name, length in _LENGTHS.items():
        newest = _NEWEST.format(
            length=length, since=f" AND usage_events.occurred_at > at - {length + _WEEKS}"
        )
        before = functions_0017._BEFORE.format(name=name, length=length)  # noqa: SLF001 - of the step before
        body = _replaced(body, before, _RECENT.format(name=name, newest=newest))
    body = _replaced(body, "    known record;\n", "    known record;\n    first_sequence bigint;\n")
    reserve = "        UPDATE accounts SET reserved_nano"
    return _replaced(body, reserve, _LOOK_FURTHER + reserve)


def _replaced(body: str, old: str, new: str) -> str:
    assert body.count(old) == 1, old  # noqa: S101 - of constants
    return body.replace(old, new)


FUNCTIONS = (_changed(), functions_0017.FUNCTIONS[1])
"""The statements that make them."""
