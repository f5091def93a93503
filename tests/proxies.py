"""The proxies of ``deploy/``, with the addresses of a test in the place of the examples'.

Each answer says in ``x-upstream`` which dashboard it came from.
"""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.services import ROOT, _leashed, wait_until

DEPLOY = ROOT / "deploy"
_AROUND_NGINX = """
daemon off;
master_process off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{}}
http {{
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    access_log off;
{example}
}}
"""
_BEFORE_CADDY = "{\n\tadmin off\n\tauto_https off\n}\n"

Words = list[str | Path]
Example = Callable[[Path, int, Sequence[int]], Words]
"""Writes the configuration into a folder, for a port and the dashboards' ports; gives the command that serves it."""


def _program(folder: Path, name: str, place: str) -> Path:
    """An installed one, or Debian's unpacked into the folder; skips the test where there is neither."""
    installed = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if installed:
        return Path(installed)
    if not shutil.which("apt-get") or not shutil.which("dpkg"):
        pytest.skip(f"there is no {name}, and no Debian to take it from")
    for words in (["apt-get", "-qq", "download", name], ["apt-get", "-qq", "update"]) * 2:
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
        if found := sorted(folder.glob(f"{name}_*.deb")):
            subprocess.run(["dpkg", "-x", found[0], folder / name], check=True, capture_output=True)
            return folder / name / place / name
    pytest.skip(f"{name} could not be fetched: {done.stderr.strip()[-200:]}")


def _certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for localhost and its key."""
    made, key = folder / "certificate.pem", folder / "key.pem"
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    words += ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl to make a certificate with")
    subprocess.run([*words, "-out", made, "-keyout", key], check=True, capture_output=True)
    return made, key


def _adapted(name: str, *replaced: tuple[str, str]) -> str:
    example = (DEPLOY / name).read_text()
    for ours, theirs in replaced:
        assert ours in example
        example = example.replace(ours, theirs)
    return example


def nginx(folder: Path, port: int, dashboards: Sequence[int], *, sticky: bool = True) -> Words:
    """``deploy/nginx.conf``; not ``sticky``: without the line that keeps a browser on one dashboard."""
    made, key = _certificate(folder)
    example = _adapted(
        "nginx.conf",
        ("server 10.0.0.11:8501;", f"server 127.0.0.1:{dashboards[0]};"),
        ("server 10.0.0.12:8501;", f"server 127.0.0.1:{dashboards[1]};"),
        ("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;"),
        ("server_name qodex.example.com;", "server_name localhost;"),
        ("/etc/ssl/qodex/fullchain.pem", str(made)),
        ("/etc/ssl/qodex/privkey.pem", str(key)),
        ("proxy_buffering off;", "proxy_buffering off; add_header x-upstream $upstream_addr always;"),
        *([] if sticky else [("hash $qodex_browser consistent;", "")]),
    )
    (folder / "nginx.conf").write_text(_AROUND_NGINX.format(folder=folder, example=example))
    return [_program(folder, "nginx", "usr/sbin"), "-c", folder / "nginx.conf", "-p", folder]


def round_robin(folder: Path, port: int, dashboards: Sequence[int]) -> Words:
    """nginx that does not keep a browser on one dashboard."""
    return nginx(folder, port, dashboards, sticky=False)


def caddy(folder: Path, port: int, dashboards: Sequence[int]) -> Words:
    """``deploy/Caddyfile``."""
    made, key = _certificate(folder)
    example = _adapted(
        "Caddyfile",
        ("qodex.example.com {", f"https://localhost:{port} {{\n\ttls {made} {key}\n\tbind 127.0.0.1"),
        ("10.0.0.11:8501", f"127.0.0.1:{dashboards[0]}"),
        ("10.0.0.12:8501", f"127.0.0.1:{dashboards[1]}"),
        ("Host qodex.example.com", f"Host localhost:{port}"),
        (
            "flush_interval -1",
            "flush_interval -1\n\t\theader_down x-upstream {http.reverse_proxy.upstream.hostport}",
        ),
    )
    (folder / "Caddyfile").write_text(_BEFORE_CADDY + example)
    program = _program(folder, "caddy", "usr/bin")
    return [program, "run", "--adapter", "caddyfile", "--config", folder / "Caddyfile"]


@contextmanager
def running_proxy(example: Example, port: int, dashboards: Sequence[int]) -> Iterator[None]:
    """Run an example on ``https://localhost:port`` before dashboards on these ports of this machine."""
    with tempfile.TemporaryDirectory(prefix="qodex-proxy-") as name:
        folder = Path(name)
        words = example(folder, port, dashboards)
        own = {"XDG_CONFIG_HOME": name, "XDG_DATA_HOME": name}  # where Caddy keeps things
        with _leashed(words, folder / "log", stop="TERM", cwd=folder, env=os.environ | own):
            assert wait_until(lambda: _answers(port), 60), (folder / "log").read_text()
            yield


def _answers(port: int) -> bool:
    try:
        ssl.get_server_certificate(("localhost", port), timeout=5)
    except OSError:
        return False
    return True
