"""The examples of deploy/: what they name exists, and none gives more rights than it needs."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from lib.db.migrations.versions.v0014_what_caching_saves import _INSERT_ROW, _TAKE_ROW
from lib.db.tables import metadata
from lib.settings import ROOT, Settings

DEPLOY = ROOT / "deploy"
CONTAINERFILE = (DEPLOY / "Containerfile").read_text()
UNITS = sorted((DEPLOY / "systemd").iterdir())
OURS = ("dashboard-1", "dashboard-2", "worker")


@pytest.fixture(scope="module")
def compose() -> Any:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())


def variables() -> set[str]:
    names: set[str] = set()
    for field in Settings.model_fields.values():
        alias = field.validation_alias
        names.update(map(str, getattr(alias, "choices", [alias])))
    return names


def test_the_image_holds_all_that_the_program_reads() -> None:
    copied = set(re.findall(r"^COPY (?!--from)(.+) /opt/qodex", CONTAINERFILE, re.MULTILINE))
    names = {name for line in copied for name in line.split()}
    assert {"app.py", "lib", "pages", "docs", "bin", ".streamlit", "CHANGELOG.md"} <= names
    assert all((ROOT / name).exists() for name in names)


def test_the_image_runs_as_nobody_in_particular_and_says_whether_it_lives() -> None:
    assert re.search(r"^USER (?!0)\d+:\d+$", CONTAINERFILE, re.MULTILINE)
    assert "HEALTHCHECK" in CONTAINERFILE
    assert "/healthz" in CONTAINERFILE


def test_no_image_gets_secrets_or_data_of_this_machine() -> None:
    ignored = (ROOT / ".containerignore").read_text().split("\n")
    assert {".git", ".env", "var", ".streamlit/secrets.toml"} <= set(ignored)


@pytest.mark.parametrize("name", OURS)
def test_our_services_write_nothing_into_their_image_and_have_no_rights(compose: Any, name: str) -> None:
    service = compose["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert set(service["environment"]) <= variables()


def test_secrets_stand_in_no_example(compose: Any) -> None:
    for service in compose["services"].values():
        for name, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|KEY", name):
                assert re.fullmatch(r"\$\{\w+:[?-]\}", value), name


def test_the_proxy_of_the_compose_file_finds_the_dashboards(compose: Any) -> None:
    addresses = [
        compose["services"][name]["networks"]["inside"]["ipv4_address"]
        for name in ("dashboard-1", "dashboard-2")
    ]
    for example in ("nginx.conf", "Caddyfile"):
        assert all(f"{address}:8501" in (DEPLOY / example).read_text() for address in addresses)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_the_units_are_understood_by_systemd(unit: Path, tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd to ask")
    here = tmp_path / unit.name.replace("@", "@1")
    here.write_text(unit.read_text().replace("/opt/qodex", str(ROOT)).replace("User=qodex", "User=root"))
    asked = subprocess.run(
        ["systemd-analyze", "verify", "--recursive-errors=no", here],
        capture_output=True,
        text=True,
        check=False,
    )
    about = [line for line in asked.stderr.splitlines() if unit.name.partition("@")[0] in line]
    assert about == []


def test_the_worker_of_the_examples_is_a_program() -> None:
    compile((DEPLOY / "worker.py").read_text(), "worker.py", "exec")


def test_citus_has_every_table_of_a_project_and_every_trigger_of_its_sums() -> None:
    script = " ".join((ROOT / "deploy/citus.sql").read_text().split())
    of_projects = [table.name for table in metadata.tables.values() if "project_id" in table.c]
    assert [name for name in of_projects if name != "audit_log" and f"'{name}'" not in script] == []
    dropped = re.findall(r"DROP TRIGGER (\w+) ON (\w+)", script)
    made = re.findall(r"CREATE TRIGGER (\w+) AFTER [A-Z ]+?(?:OF occurred_at )?ON (\w+)", script)
    assert sorted(dropped) == sorted(made)
    # Row by row what 0014 has, and 0019 for a statement.
    assert script.count(f"BEGIN {' '.join(_INSERT_ROW.split())} RETURN") == 1
    assert f"BEGIN {' '.join(_TAKE_ROW.split())} {' '.join(_INSERT_ROW.split())} RETURN" in script
