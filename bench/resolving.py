"""Resolving one key from the database each time, against a raw SELECT and one AES-GCM decryption."""

from __future__ import annotations

import os
import sqlite3

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bench.measure import interleaved, median, ratio, table, verdict
from bench.workplace import KEY, database_urls, platform


def main() -> None:
    """Print the table."""
    rows = []
    with database_urls() as urls:
        for engine, url in urls.items():
            with platform(url) as opened:
                floor = _floor(urls["SQLite"] if engine == "SQLite" else None, url)
                times = interleaved(
                    {"resolve": lambda: opened.keys.resolve("bench"), "floor": floor}, 40, 250
                )
            found = ratio(times, "resolve", "floor")
            target = verdict(found, 8) if engine == "SQLite" else f"{found:.2f}×"
            rows.append((engine, f"{median(times['floor']):.1f}", f"{median(times['resolve']):.1f}", target))
    table(
        "Resolve a key, µs (floor: raw driver SELECT and one decryption)",
        ("engine", "floor", "ours", "ratio"),
        rows,
    )


def _floor(path_url: str | None, url: str):
    cipher, nonce = AESGCM(AESGCM.generate_key(256)), os.urandom(12)
    sealed = cipher.encrypt(nonce, KEY.encode(), b"row")
    if path_url is None:
        import psycopg

        connection = psycopg.connect(url.replace("+psycopg", ""), autocommit=True)
        return lambda: (
            _one(connection.execute(_SQL % "%s", ("openai",))),
            cipher.decrypt(nonce, sealed, b"row"),
        )
    raw = sqlite3.connect(path_url.removeprefix("sqlite:///"), isolation_level=None)
    return lambda: (_one(raw.execute(_SQL % "?", ("openai",))), cipher.decrypt(nonce, sealed, b"row"))


_SQL = (
    "SELECT project_id, version, last4, sealed_data_key, sealed_value FROM provider_keys WHERE provider = %s"
)


def _one(cursor: object) -> object:
    return cursor.fetchone()
