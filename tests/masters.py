"""A server whose master keys rotate: its own key file and process, over the database of all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lib.access.projects import Projects
from lib.access.roles import Origin, local_administrator
from lib.db import Database
from lib.secret import Secret
from lib.settings import Settings
from lib.vault.keys import KeyStore
from lib.vault.master_keys.masters import id_of, load_keyring, new_key
from lib.vault.master_keys.rotation import Masters
from lib.vault.seals import ProjectSeals
from lib.vault.states import Verdict
from tests.vaults import Vault

OPERATOR = local_administrator(Origin.COMMAND_LINE, "olga")
LEAD = local_administrator(Origin.BROWSER, "lena@example.com")
SLUGS = ("checkout", "payments", "search")
OLD, LOST = new_key(), new_key()
OLD_ID, LOST_ID = str(id_of(OLD)), str(id_of(LOST))


class Server:
    """One server: its own key file and process, over the database of all."""

    def __init__(self, url: str, path: Path, keys: str | None = None, **told: Any) -> None:
        self.settings = Settings(
            database_url=url, master_key_file=path, master_keys=Secret(keys) if keys else None, **told
        )
        self.database = Database(url)
        self.keyring = load_keyring(self.settings, may_create=False)
        self.store = KeyStore(self.database, self.keyring, {})
        self.masters = Masters(self.database, self.keyring, self.settings)
        self.vault = Vault(
            url, self.database, Projects(self.database, ProjectSeals(self.database, self.keyring)), self.store
        )
        self.path = path

    def opened(self) -> dict[str, str]:
        return {slug: self.vault.opened(slug) for slug in SLUGS if self.vault.describe(slug).version}

    def sealed_with(self) -> dict[str, str]:
        """Project and the master key that its row names."""
        rows = self.vault.sql(
            "SELECT slug, master_key_id FROM provider_keys JOIN projects ON id = project_id "
            "WHERE sealed_value IS NOT NULL ORDER BY slug"
        )
        return {row.slug: row.master_key_id for row in rows}

    def log(self, begins: str) -> list[Any]:
        return [
            (
                row.action,
                row.actor,
                row.project,
                json.loads(row.before or "{}") | json.loads(row.after or "{}"),
            )
            for row in self.vault.sql("SELECT * FROM audit_log ORDER BY id")
            if row.action.startswith(begins)
        ]

    def save(self, slug: str, key: str) -> None:
        seen = self.vault.describe(slug).version
        self.store.save(slug, Secret(key), actor=LEAD, expected_version=seen, verdict=Verdict())


def key_of(slug: str) -> str:
    return f"sk-test-{slug}-key-0001"


ALL = {slug: key_of(slug) for slug in SLUGS}
"""Each project and its key."""
