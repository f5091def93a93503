"""The proxy of ``deploy/nginx.conf``, with the addresses of a test in the place of the example's."""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.services import ROOT, _leashed, wait_until

EXAMPLE = ROOT / "deploy" / "nginx.conf"
_AROUND = """
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
    log_format upstreams '$upstream_addr $cookie_qodex_browser $status $request_uri';
    access_log {folder}/access.log upstreams;
{example}
}}
"""


def nginx(folder: Path) -> Path:
    """The program: an installed one, or Debian's unpacked into the folder; skips the test where there is neither."""
    installed = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if installed:
        return Path(installed)
    if not shutil.which("apt-get") or not shutil.which("dpkg"):
        pytest.skip("there is no nginx, and no Debian to take it from")
    for words in (["apt-get", "-qq", "download", "nginx"], ["apt-get", "-qq", "update"]):
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
        if found := sorted(folder.glob("nginx_*.deb")):
            subprocess.run(["dpkg", "-x", found[0], folder / "nginx"], check=True, capture_output=True)
            return folder / "nginx" / "usr" / "sbin" / "nginx"
    pytest.skip(f"nginx could not be fetched: {done.stderr.strip()[-200:]}")


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for localhost and its key."""
    made, key = folder / "certificate.pem", folder / "key.pem"
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    words += ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl to make a certificate with")
    subprocess.run([*words, "-out", made, "-keyout", key], check=True, capture_output=True)
    return made, key


@contextmanager
def running_proxy(port: int, dashboards: Sequence[int], *, sticky: bool = True) -> Iterator[Path]:
    """Run the example on ``https://localhost:port`` before dashboards on these ports; gives its access log.

    Args:
        port: of the proxy.
        dashboards: ports of this machine.
        sticky: False: without the line that keeps a browser on one of them.
    """
    with tempfile.TemporaryDirectory(prefix="qodex-nginx-") as name:
        folder = Path(name)
        made, key = certificate(folder)
        example = EXAMPLE.read_text()
        for ours, theirs in (
            ("server 10.0.0.11:8501;", f"server 127.0.0.1:{dashboards[0]};"),
            ("server 10.0.0.12:8501;", f"server 127.0.0.1:{dashboards[1]};"),
            ("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;"),
            ("server_name qodex.example.com;", "server_name localhost;"),
            ("/etc/ssl/qodex/fullchain.pem", str(made)),
            ("/etc/ssl/qodex/privkey.pem", str(key)),
            *([] if sticky else [("hash $qodex_browser consistent;", "")]),
        ):
            assert ours in example
            example = example.replace(ours, theirs)
        (folder / "nginx.conf").write_text(_AROUND.format(folder=folder, example=example))
        words: list[str | Path] = [nginx(folder), "-c", folder / "nginx.conf", "-p", folder]
        with _leashed(words, folder / "log", stop="TERM", cwd=folder):
            assert wait_until(lambda: _answers(port), 60), (folder / "log").read_text()
            yield folder / "access.log"


def _answers(port: int) -> bool:
    try:
        ssl.get_server_certificate(("127.0.0.1", port), timeout=5)
    except OSError:
        return False
    return True
