"""A key is checked with the provider before it is saved: every row of the table, over real HTTP.

Promise 2: rejected, could not check and working are told apart, and a working key is never refused.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import io
import ipaddress
import logging
import pickle
import socket
import ssl
import threading
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer

import openai
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from lib.errors import BadInput, KeyRejected, KeyUnchecked, QodexError, SettingsError
from lib.llm import key_check, registry
from lib.llm.http import inner_transport, install_log_redaction
from lib.llm.key_check import CheckResult
from lib.llm.openai.provider import OpenAI
from lib.secret import Secret
from lib.settings import Settings
from tests.upstream import GOOD_KEY, WRONG_KEY, Behaviour, ScriptedUpstream

KEY = "sk-test-planted-key-7777"
SOON = 0.3
"""A deadline for what never answers."""


@pytest.fixture
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream({KEY: "good"}) as server:
        yield server


check_key = partial(key_check.check_key, OpenAI())


def settings_for(base_url: str, **more: object) -> Settings:
    return Settings(openai_base_url=base_url, **more)


def check(upstream: ScriptedUpstream, how: str | Behaviour = "good", *, deadline: float = 10) -> CheckResult:
    upstream.keys[KEY] = how
    return check_key(Secret(KEY), settings_for(upstream.base_url), deadline=deadline)


def paths(upstream: ScriptedUpstream) -> list[str]:
    return [seen.path for seen in upstream.requests]


# --- the table ------------------------------------------------------------------------------------


def test_a_real_key_works_and_is_asked_about_once(upstream):
    result = check(upstream)
    assert (result.status, result.code) == ("working", None)
    assert result.request_id == "req_00000001"
    assert paths(upstream) == ["/models"]


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ("revoked", "invalid_api_key"),
        ("account_deactivated", "account_deactivated"),
        ("no_organization", "no_organization"),
        ("integer_code", "401"),
    ],
)
def test_a_refused_key_is_rejected_with_the_providers_own_message(upstream, row, code):
    with pytest.raises(KeyRejected) as refusal:
        check(upstream, row)
    assert (refusal.value.status, refusal.value.code) == (401, code)
    assert refusal.value.message in str(refusal.value)
    assert refusal.value.request_id == "req_00000001"
    assert paths(upstream) == ["/models"]


@pytest.mark.parametrize("key", [WRONG_KEY, "sk-proj-" + "test-wrong-key-" * 2])
def test_a_key_that_nobody_knows_is_rejected_without_being_repeated(upstream, key):
    with pytest.raises(KeyRejected, match="Incorrect API key provided") as refusal:
        check_key(Secret(key), settings_for(upstream.base_url))
    assert key[8:16] not in str(refusal.value)
    assert "platform.openai.com/account/api-keys" in refusal.value.message


@pytest.mark.parametrize(
    "row",
    [
        "out_of_money",
        "insufficient_quota",
        "credit_balance_exhausted",
        "project_spend_limit_exceeded",
        "organization_spend_limit_exceeded",
        "organization_usage_limit_exceeded",
        "ip_not_authorized",
        "no_model",
        "unknown_model",
        "unverified_400",
        "unverified_403",
        "unverified_404",
    ],
)
def test_a_genuine_key_that_cannot_run_yet_is_accepted_with_a_warning(upstream, row):
    result = check(upstream, row)
    assert result.status == "warning"
    assert result.message.startswith("The key is genuine, but ")
    assert paths(upstream) == ["/models"]


@pytest.mark.parametrize("row", ["rate_limited", "tokens_limited"])
def test_a_rate_limit_proves_the_key(upstream, row):
    assert check(upstream, row).status == "working"
    assert len(upstream.requests) == 1


@pytest.mark.parametrize(
    ("row", "status"),
    [
        ("mismatched_organization", 401),
        ("country", 403),
        ("forbidden", 403),
        ("server_error", 500),
        ("slow_down", 503),
        ("overloaded", 503),
        ("captive_portal", 200),
        ("redirect", 307),
        ("bad_request", 400),
        ("detail_400", 400),
        ("not_json", 200),
        ("huge_html", 500),
        ("huge_html_200", 200),
        ("truncated", None),
        ("drop", None),
    ],
)
def test_an_answer_that_decides_nothing_is_neither_working_nor_rejected(upstream, row, status):
    with pytest.raises(KeyUnchecked, match=r"^Could not check the key\. .* Try again\.$") as unchecked:
        check(upstream, row)
    assert unchecked.value.status == status
    assert paths(upstream) == ["/models"], "asked once: not retried, not redirected"


@pytest.mark.parametrize("row", ["hang", "stall", "drip_headers", "drip_body"])
def test_a_provider_that_never_finishes_is_given_up_at_the_total_deadline(upstream, row):
    with pytest.raises(KeyUnchecked, match=r"OpenAI did not answer within 0\.3 s\."):
        check(upstream, row, deadline=SOON)


@pytest.mark.parametrize("body", [{"error": {"message": "no"}}, "text", 7, None])
def test_a_200_that_is_no_list_of_models_decides_nothing(upstream, body):
    with pytest.raises(KeyUnchecked):
        check(upstream, Behaviour(status=200, json=body))


@pytest.mark.parametrize("status", [401, 403, 404, 429])
def test_a_web_page_decides_nothing_whatever_its_status(upstream, status):
    page = "<html>Missing scopes: please sign in, ![x](http://evil.invalid/x.png)</html>"
    with pytest.raises(KeyUnchecked, match="A web page came") as unchecked:
        check(upstream, Behaviour(status=status, text=page, headers={"content-type": "text/html"}))
    assert "evil" not in str(unchecked.value)


# --- restricted keys ------------------------------------------------------------------------------


@pytest.mark.parametrize("row", ["missing_scopes", "missing_scopes_401", "missing_scopes_text"])
def test_a_key_that_may_not_list_models_but_may_run_them_works(upstream, row):
    assert check(upstream, row).status == "working"
    assert paths(upstream) == ["/models", "/chat/completions"]
    assert "messages" not in upstream.requests[1].json, "a bad request on purpose: it costs nothing"


def test_a_key_that_may_only_use_responses_works(upstream):
    assert check(upstream, "only_responses").status == "working"
    assert paths(upstream) == ["/models", "/chat/completions", "/responses"]
    assert "input" not in upstream.requests[2].json


@pytest.mark.parametrize(
    ("row", "status"), [("no_scopes", 403), ("no_scopes_401", 401), ("no_scopes_text", 403)]
)
def test_a_key_that_may_not_run_models_at_all_is_rejected_with_the_missing_scope(upstream, row, status):
    with pytest.raises(KeyRejected, match=r"Missing scopes: model\.request") as refusal:
        check(upstream, row)
    assert refusal.value.status == status


@pytest.mark.parametrize(
    ("then", "outcome"),
    [
        ("revoked", KeyRejected),
        ("forbidden", KeyRejected),
        ("country", KeyUnchecked),
        ("mismatched_organization", KeyUnchecked),
        ("server_error", KeyUnchecked),
        ("captive_portal", KeyUnchecked),
        ("redirect", KeyUnchecked),
        ("drop", KeyUnchecked),
        ("out_of_money", "warning"),
        ("no_model", "warning"),
        ("ip_not_authorized", "warning"),
        ("unverified_400", "warning"),
        ("rate_limited", "working"),
    ],
)
def test_the_second_step_decides_by_the_same_table(upstream, then, outcome):
    upstream.queue("missing_scopes")
    if isinstance(outcome, str):
        upstream.queue(then)
        assert check(upstream).status == outcome
    else:
        upstream.queue(then)
        with pytest.raises(outcome):
            check(upstream)
    assert paths(upstream) == ["/models", "/chat/completions"]


def test_all_steps_together_have_one_deadline(upstream):
    upstream.queue("missing_scopes")
    with pytest.raises(KeyUnchecked, match=r"within 1 s"):
        check(upstream, "hang", deadline=1)
    assert paths(upstream) == ["/models", "/chat/completions"]


def test_a_server_without_a_list_of_models_is_asked_through_a_bad_request(upstream):
    assert check(upstream, "no_model_list").status == "working"


def test_a_server_that_has_neither_decides_nothing(upstream):
    with pytest.raises(KeyUnchecked, match="neither"):
        check(upstream, Behaviour(status=404, json={"detail": "Not Found"}))


def test_a_server_that_answers_400_to_a_bad_key_does_not_make_it_work(upstream):
    upstream.queue("no_model_list")
    with pytest.raises(KeyUnchecked):
        check(upstream, "detail_400")


# --- nothing but the settings decides -------------------------------------------------------------


@pytest.fixture
def hostile_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedUpstream]:
    """Every variable that the SDK, httpx or OpenSSL would obey, leading to a server that must stay unasked."""
    with ScriptedUpstream() as elsewhere:
        address = f"http://127.0.0.1:{elsewhere.port}"
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, address)
            monkeypatch.setenv(name.lower(), address)
        for name, value in {
            "OPENAI_API_KEY": GOOD_KEY,
            "OPENAI_ADMIN_KEY": GOOD_KEY,
            "OPENAI_BASE_URL": elsewhere.base_url,
            "OPENAI_ORG_ID": "org-hostile",
            "OPENAI_PROJECT_ID": "proj-hostile",
            "OPENAI_CUSTOM_HEADERS": f"Authorization: Bearer {GOOD_KEY}\nX-Hostile: 1",
            "OPENAI_LOG": "debug",
            "NO_PROXY": "",
            "no_proxy": "",
        }.items():
            monkeypatch.setenv(name, value)
        yield elsewhere


def test_a_hostile_environment_changes_neither_address_nor_key_nor_headers(upstream, hostile_environment):
    assert check(upstream, "missing_scopes").status == "working"
    assert hostile_environment.requests == []
    for seen in upstream.requests:
        assert seen.key == KEY
        assert set(seen.headers) <= {
            "host",
            "authorization",
            "accept",
            "accept-encoding",
            "user-agent",
            "content-type",
            "content-length",
        }


def test_a_redirect_is_not_followed_to_anywhere(upstream):
    with ScriptedUpstream() as elsewhere:
        for status in (301, 302, 303, 307, 308):
            away = Behaviour(status=status, text="", headers={"location": elsewhere.base_url + "/models"})
            with pytest.raises(KeyUnchecked, match="redirect"):
                check(upstream, away)
        assert elsewhere.requests == []


# --- TLS and proxies ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate (and its key, in one file) for 127.0.0.1 that no system trusts."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "scripted upstream")])
    now = dt.datetime.now(dt.UTC)
    certified = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    path.write_bytes(
        certified.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return path


@pytest.fixture
def tls_upstream(certificate: Path) -> Iterator[ScriptedUpstream]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with ScriptedUpstream({KEY: "good"}, tls=context) as server:
        yield server


def test_the_certificate_authority_of_the_settings_is_trusted(tls_upstream, certificate):
    assert (
        check_key(Secret(KEY), settings_for(tls_upstream.base_url, ca_file=certificate)).status == "working"
    )


def test_the_certificate_authority_of_the_environment_is_not(tls_upstream, certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setenv("SSL_CERT_DIR", str(certificate.parent))
    with pytest.raises(KeyUnchecked, match="certificate"):
        check_key(Secret(KEY), settings_for(tls_upstream.base_url))
    assert tls_upstream.requests == []


def test_session_keys_are_not_written_to_where_the_environment_says(
    tls_upstream, certificate, monkeypatch, tmp_path
):
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "session-keys"))
    check_key(Secret(KEY), settings_for(tls_upstream.base_url, ca_file=certificate))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_an_unusable_certificate_file_names_the_variable(upstream, tmp_path, content):
    path = tmp_path / "ca.pem"
    if content:
        path.write_text(content)
    with pytest.raises(SettingsError, match=r"^QODEX_CA_FILE: "):
        settings_for(upstream.base_url, ca_file=path)


def test_a_certificate_file_that_vanished_since_the_start_names_the_variable(upstream, certificate, tmp_path):
    path = tmp_path / "ca.pem"
    path.write_bytes(Path(certificate).read_bytes())
    settings = settings_for(upstream.base_url, ca_file=path)
    path.unlink()
    with pytest.raises(SettingsError, match=r"^QODEX_CA_FILE: "):
        check_key(Secret(KEY), settings)


class Proxy:
    """A proxy that tunnels (CONNECT) and remembers what it was asked for."""

    def __init__(self, answer: bytes = b"HTTP/1.1 200 OK\r\n\r\n") -> None:
        asked = self.asked = list[str]()

        class Handler(StreamRequestHandler):
            def handle(self) -> None:
                line = self.rfile.readline().decode()
                asked.append(line.strip())
                while self.rfile.readline().strip():
                    pass
                self.wfile.write(answer)
                if b" 200 " in answer:
                    host, port = line.split()[1].split(":")
                    with socket.create_connection((host, int(port))) as onward:
                        back = threading.Thread(target=_pass_on, args=(onward, self.connection))
                        back.start()
                        _pass_on(self.connection, onward)
                        back.join()

        self.server = ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


def test_the_proxy_of_the_settings_is_used(tls_upstream, certificate):
    with closing(Proxy()) as proxy:
        result = check_key(
            Secret(KEY),
            settings_for(tls_upstream.base_url, ca_file=certificate, https_proxy=proxy.address),
        )
    assert result.status == "working"
    assert proxy.asked == [f"CONNECT 127.0.0.1:{tls_upstream.port} HTTP/1.1"]


def test_a_proxy_that_refuses_decides_nothing(tls_upstream, certificate):
    with closing(Proxy(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")) as proxy:
        settings = settings_for(tls_upstream.base_url, ca_file=certificate, https_proxy=proxy.address)
        with pytest.raises(KeyUnchecked, match="The proxy did not let the request through"):
            check_key(Secret(KEY), settings)


def test_a_key_for_this_machine_does_not_go_through_a_proxy_in_the_clear(upstream):
    with closing(Proxy()) as proxy:
        settings = settings_for(upstream.base_url, https_proxy=proxy.address)
        assert check_key(Secret(KEY), settings).status == "working"
    assert proxy.asked == []


# --- time and size --------------------------------------------------------------------------------


def test_a_name_server_that_hangs_is_given_up_at_the_deadline(monkeypatch):
    released = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: released.wait(60) and [])
    with pytest.raises(KeyUnchecked, match="did not answer within"):
        check_key(Secret(KEY), settings_for("https://slow.invalid/v1"), deadline=SOON)
    released.set()


def test_a_name_that_does_not_exist_is_said_to_be_so():
    with pytest.raises(KeyUnchecked, match="could not be looked up"):
        check_key(Secret(KEY), settings_for("https://nowhere.invalid/v1"))


def test_a_server_that_is_not_there_is_said_to_be_so():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(KeyUnchecked, match="could not be reached"):
        check_key(Secret(KEY), settings_for(f"http://127.0.0.1:{port}/v1"))


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_server_that_never_takes_the_connection_is_given_up_at_the_deadline(scheme):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = settings_for(f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/v1")
        with pytest.raises(KeyUnchecked, match="did not answer within"):
            check_key(Secret(KEY), settings, deadline=SOON)


def test_a_connection_that_is_never_established_is_given_up_at_the_deadline():
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        settings = settings_for(f"http://127.0.0.1:{full.getsockname()[1]}/v1")
        with pytest.raises(KeyUnchecked, match="did not answer within"):
            check_key(Secret(KEY), settings, deadline=SOON)
        for one in waiting:
            one.close()


def test_an_endless_or_exploding_answer_is_not_taken_in(upstream):
    for how in (
        Behaviour(pad=9_000_000, status=200, text="["),
        Behaviour(pad=90_000_000, status=200, text="[", gzip=True),
    ):
        with pytest.raises(KeyUnchecked, match="too large"):
            check(upstream, how)


def test_a_compressed_answer_that_nobody_asked_for_is_understood(upstream):
    assert check(upstream, "gzip").status == "working"
    with pytest.raises(KeyRejected, match="revoked"):
        check(upstream, Behaviour(status=401, json={"error": "revoked"}, gzip=True))


def test_an_unknown_compression_decides_nothing(upstream):
    with pytest.raises(KeyUnchecked, match="compressed"):
        check(upstream, Behaviour(status=200, json=[], headers={"content-encoding": "br"}))


# --- where it may be called from ------------------------------------------------------------------


def test_it_may_be_called_inside_a_running_event_loop(upstream):
    async def inside() -> CheckResult:
        return check(upstream)

    assert asyncio.run(inside()).status == "working"


def test_many_threads_may_check_at_once(upstream):
    settings = settings_for(upstream.base_url)
    keys = [KEY, WRONG_KEY] * 8

    def outcome(key: str) -> str:
        try:
            return check_key(Secret(key), settings).status
        except KeyRejected:
            return "rejected"

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(outcome, keys)) == ["working", "rejected"] * 8


def test_no_thread_is_left_behind(upstream):
    before = threading.active_count()
    check(upstream)
    for thread in threading.enumerate():
        if thread.name == "key-check":
            thread.join(5)
    assert threading.active_count() <= before + 1, "the upstream may keep one for its connection"


# --- the key stays inside -------------------------------------------------------------------------

ENDLESS = ["hang", "drip_headers"]
FAILURES = [
    "revoked",
    "echo",
    "echo_400",
    "echo_500",
    "no_scopes",
    "captive_portal",
    "redirect",
    "drop",
    "truncated",
    "huge_html",
    *ENDLESS,
]


def pieces() -> list[str]:
    return [KEY[at : at + 8] for at in range(len(KEY) - 7) if KEY[at : at + 8] != "sk-test-"]


def assert_clean(text: str) -> None:
    assert [piece for piece in pieces() if piece in text] == []


@pytest.mark.parametrize("row", FAILURES)
def test_no_exception_carries_the_key(upstream, row):
    upstream.keys[KEY] = row
    secret = Secret(KEY)
    settings = settings_for(upstream.base_url)
    with pytest.raises(QodexError) as failure:
        check_key(secret, settings, deadline=SOON if row in ENDLESS else 10)
    error = failure.value
    assert error.__context__ is None
    assert error.__cause__ is None
    assert_clean(f"{error} {error!r} {error.args} {vars(error)} {pickle.dumps(error)!r}")
    shown = traceback.TracebackException.from_exception(error, capture_locals=True)
    ours = [frame for frame in shown.stack if "/lib/" in frame.filename]
    assert ours
    assert_clean("".join(f"{frame.locals}" for frame in ours))
    for frame, _ in traceback.walk_tb(error.__traceback__):
        for value in list(frame.f_locals.values()) if "/lib/llm/" in frame.f_code.co_filename else []:
            with suppress(TypeError, pickle.PicklingError, AttributeError):  # a Secret is not pickled at all
                assert_clean(repr(pickle.dumps(value)))


@pytest.fixture
def debug_log() -> Iterator[io.StringIO]:
    """Everything that anybody logs, at DEBUG."""
    factory, root = logging.getLogRecordFactory(), logging.getLogger()
    logging.setLogRecordFactory(logging.LogRecord)  # another test may have started a whole server here
    text, level = io.StringIO(), root.level
    handler = logging.StreamHandler(text)
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    install_log_redaction()
    install_log_redaction()
    yield text
    logging.setLogRecordFactory(factory)
    root.removeHandler(handler)
    root.setLevel(level)


@pytest.mark.parametrize("row", ["good", "echo_good", "missing_scopes", *FAILURES])
def test_no_log_line_at_debug_holds_the_key(upstream, debug_log, row):
    upstream.keys[KEY] = row
    with suppress(QodexError):
        check_key(Secret(KEY), settings_for(upstream.base_url), deadline=1 if row in ENDLESS else 10)
    assert "send_request_headers" in debug_log.getvalue()
    assert_clean(debug_log.getvalue())


def test_pieces_of_the_key_in_response_headers_are_not_logged_either(upstream, debug_log):
    upstream.keys[KEY] = Behaviour(headers={"x-first": KEY[:12], "x-second": KEY[12:], "x-bare": KEY[3:]})
    check_key(Secret(KEY), settings_for(upstream.base_url))
    assert "receive_response_headers.complete" in debug_log.getvalue()
    assert_clean(debug_log.getvalue())


@pytest.mark.parametrize("fault", ["bad_header", "bad_reason", "bad_chunk"])
def test_pieces_of_the_key_in_what_is_hardly_http_are_not_logged_either(upstream, debug_log, fault):
    upstream.keys[KEY] = Behaviour(fault=fault)
    with suppress(QodexError):
        check_key(Secret(KEY), settings_for(upstream.base_url))
    assert "receive_response_headers" in debug_log.getvalue()
    assert_clean(debug_log.getvalue())


@pytest.mark.parametrize("row", ["good", "echo", "echo_good", "echo_500"])
def test_the_sdk_over_our_transport_logs_no_key_either(upstream, debug_log, row):
    upstream.keys[KEY] = row
    http = openai.DefaultHttpxClient(
        transport=inner_transport(settings_for(upstream.base_url), upstream.base_url),
        trust_env=False,
        follow_redirects=False,
    )
    with openai.OpenAI(api_key=KEY, base_url=upstream.base_url, max_retries=1, http_client=http) as client:
        with suppress(openai.OpenAIError):
            client.responses.create(model="gpt-5-mini", input="hello")
        try:
            client.models.list()
        except openai.OpenAIError:
            logging.getLogger("openai.of_a_module_imported_later").exception("It failed")
    assert "HTTP Response: POST" in debug_log.getvalue()
    assert_clean(debug_log.getvalue())


def test_other_loggers_are_redacted_only_where_a_server_asks_for_it(debug_log):
    logging.getLogger("a.worker").warning("its own business: %s", KEY)
    install_log_redaction(Secret("another-kind-of-key-9999"), everywhere=True)
    logging.getLogger("a.server").warning("seen: %s and %s", KEY, "another-kind-of-key-9999")
    worker, server = debug_log.getvalue().splitlines()[:2]
    assert KEY in worker
    assert "key-" not in server


# --- what a provider is ---------------------------------------------------------------------------


def test_openai_anthropic_and_google_are_live():
    assert [each.facts.name for each in registry.live()] == ["openai", "anthropic", "google"]
    links = registry.provider("openai").links
    assert links.usage == "https://platform.openai.com/usage"
    assert links.limits == "https://platform.openai.com/settings/organization/limits"


def test_there_is_no_other_provider():
    with pytest.raises(BadInput):
        registry.provider("nobody")
