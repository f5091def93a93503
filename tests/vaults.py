"""A vault as tests use it: a database, its projects and their keys, without the network.

``python -m tests.vaults`` is another process that does the same: see ``VaultProcess``.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from sqlalchemy import Row, text

from lib.access.projects import Projects
from lib.access.roles import Actor, Origin, local_administrator
from lib.db import Database
from lib.errors import QodexError
from lib.providers import DEFAULT
from lib.secret import Secret
from lib.vault.keys import KeyStore
from lib.vault.master_keys.masters import Keyring
from lib.vault.sealing import MasterKey
from lib.vault.seals import ProjectSeals
from lib.vault.states import KeyState, Verdict

ADMIN = local_administrator(Origin.BROWSER)
ROOT = Path(__file__).resolve().parents[1]


@dataclass
class Vault:
    """The parts, and short ways to use them."""

    url: str
    database: Database
    projects: Projects
    keys: KeyStore
    provider: str = DEFAULT
    """Whose key is meant."""

    def save(self, slug: str, key: str, expected: int = 0, *, actor: Actor = ADMIN) -> KeyState:
        return self.keys.save(
            slug,
            Secret(key),
            actor=actor,
            expected_version=expected,
            verdict=Verdict(),
            provider=self.provider,
        )

    def replace(self, slug: str, key: str) -> KeyState:
        return self.save(slug, key, self.describe(slug).version)

    def remove(self, slug: str) -> KeyState:
        return self.keys.remove(slug, actor=ADMIN, provider=self.provider)

    def describe(self, slug: str) -> KeyState:
        return self.keys.describe(slug, actor=ADMIN, provider=self.provider)

    def opened(self, slug: str) -> str:
        """The text of the key that the next call would use."""
        return self.keys.resolve(slug, provider=self.provider).secret.reveal()

    def sql(self, statement: str, **values: Any) -> list[Row[Any]]:
        """Do what a person with access to the database could do."""
        with self.database.write() as connection:
            found = connection.execute(text(statement), values)
            return list(found) if found.returns_rows else []

    def audit(self, slug: str) -> list[str]:
        rows = self.sql("SELECT action FROM audit_log WHERE project = :slug ORDER BY id", slug=slug)
        return [row.action for row in rows]


def projects_of(database: Database) -> Projects:
    """Projects for tests that are not about keys: sealed by a master key that nobody else has."""
    return Projects(database, ProjectSeals(database, Keyring([MasterKey(bytes(range(32)))])))


@contextmanager
def open_vault(
    url: str, *masters: bytes, platform_key: str | None = None, projects: tuple[str, ...] = ()
) -> Iterator[Vault]:
    """Open the vault in a migrated database with these master keys, the first one sealing."""
    database = Database(url)
    keyring = Keyring([MasterKey(raw) for raw in masters])
    vault = Vault(
        url,
        database,
        Projects(database, ProjectSeals(database, keyring)),
        KeyStore(database, keyring, {DEFAULT: Secret(platform_key)} if platform_key else {}),
    )
    for slug in projects:
        vault.projects.add(slug, actor=ADMIN)
    try:
        yield vault
    finally:
        database.close()


class VaultProcess:
    """Another process over the same database. It does one thing after the other, each when it is told."""

    def __init__(self, url: str, master: bytes) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.vaults"],
            cwd=ROOT,
            env={**os.environ, "VAULT_URL": url, "VAULT_MASTER": base64.b64encode(master).decode()},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def tell(self, **what: Any) -> None:
        """Begin something, without waiting for it."""
        assert self.process.stdin
        print(json.dumps(what), file=self.process.stdin, flush=True)

    def answer(self) -> Any:
        """Wait for what it says about the oldest thing it was told; None where it died instead."""
        assert self.process.stdout
        line = self.process.stdout.readline()
        return json.loads(line) if line else None

    def ask(self, **what: Any) -> Any:
        self.tell(**what)
        return self.answer()

    def close(self) -> None:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _do(vault: Vault, what: dict[str, Any]) -> Any:
    vault.provider = what.pop("provider", DEFAULT)
    match what:
        case {"do": "ready"}:
            return True
        case {"do": "opened", "slug": slug}:
            return vault.opened(slug)
        case {"do": "save", "slug": slug, "key": key, "expected": expected}:
            return vault.save(slug, key, expected).version
    raise ValueError(what)


def main() -> None:
    master = base64.b64decode(os.environ["VAULT_MASTER"])
    with open_vault(os.environ["VAULT_URL"], master) as vault:
        for line in sys.stdin:
            try:
                said = _do(vault, json.loads(line))
            except QodexError as problem:
                said = {"error": type(problem).__name__, "sentence": str(problem)}
            print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main()
