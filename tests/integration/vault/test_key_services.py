"""Master keys that a key service has wrapped: a real OpenBao, and AWS KMS as moto plays it."""

from __future__ import annotations

import base64
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from click.testing import CliRunner

from lib.cli import cli
from lib.errors import KeyLocked, KeyServiceFailed, QodexError, SettingsError
from lib.platform import Platform
from lib.secret import Secret
from lib.settings import Settings
from lib.vault.master_keys.masters import load_keyring
from lib.vault.master_keys.unwrapping import CONFIRMED_SECONDS, HELD_SECONDS, Unwrapper
from lib.vault.master_keys.wrapped import ServiceKey, Wrapped, wrapped_in
from lib.vault.sealing import MasterKey
from lib.vault.services.transit import Transit
from tests.key_services import Service, running_kms, running_openbao
from tests.masters import ALL, OLD, OLD_ID, OPERATOR, Server
from tests.services import wait_until
from tests.upstream import GOOD_KEY, ScriptedUpstream

on_sqlite = pytest.mark.parametrize("database_kind", ["sqlite"])


@pytest.fixture(params=["transit", "awskms"])
def service(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Service]:
    if request.param == "transit":
        with running_openbao(tmp_path) as found:
            yield found
    else:
        with running_kms(tmp_path, monkeypatch.setenv) as found:
            yield found


@pytest.fixture
def told(service: Service) -> dict[str, Any]:
    """The settings of a server that uses it."""
    return service.settings | {"key_service": service.key}


@pytest.fixture
def start(database_url: str, tmp_path: Path, told: dict[str, Any]) -> Iterator[Callable[..., Server]]:
    """Start a server whose master keys are in the variable."""
    made: list[Server] = []

    def start(*keys: str) -> Server:
        made.append(Server(database_url, tmp_path / "none" / "master.key", ",".join(keys) or None, **told))
        return made[-1]

    yield start
    for each in made:
        each.database.close()


def new_entry(server: Server) -> str:
    made = server.masters.create(actor=OPERATOR)
    assert made.line
    return made.line.reveal()


@pytest.fixture
def wrapped(server: Server, start: Callable[..., Server]) -> str:
    """The one master key: projects and keys that were sealed in the clear are handed over to it."""
    entry = new_entry(start(OLD.reveal()))
    assert start(entry, OLD.reveal()).masters.rotate(actor=OPERATOR).left == []
    return entry


# --- the way there -------------------------------------------------------------------------------------


def test_master_keys_move_from_the_environment_to_the_key_service(
    server: Server, start: Callable[..., Server], service: Service
) -> None:
    before = start(OLD.reveal())
    entry = new_entry(before)
    found = wrapped_in(Secret(entry))
    assert found
    assert (str(found.by), found.id[:3]) == (service.key, "mk-")
    second = start(OLD.reveal(), entry)  # on every server it opens first
    assert [each.use for each in second.masters.status(actor=OPERATOR).master_keys] == ["encrypts", "opens"]
    third = start(entry, OLD.reveal())
    assert third.masters.rotate(actor=OPERATOR).resealed == len(ALL)
    assert third.opened() == second.opened() == ALL
    assert set(third.sealed_with().values()) == {found.id}
    assert third.masters.retire(OLD_ID, actor=OPERATOR) == 2
    assert start(entry).opened() == ALL


@on_sqlite
def test_in_a_file_too_and_processes_that_run_take_it_without_a_restart(
    server: Server, database_url: str, told: dict[str, Any]
) -> None:
    rotating, another = (Server(database_url, server.path, **told) for _ in range(2))
    made = rotating.masters.create(actor=OPERATOR)
    assert made.is_wrapped
    assert rotating.masters.rotate(actor=OPERATOR).to == made.id
    rotating.masters.retire(OLD_ID, actor=OPERATOR)
    assert another.opened() == ALL
    (line,) = server.path.read_text().split()
    assert wrapped_in(Secret(line))
    for each in (rotating, another):
        each.database.close()


def test_the_first_start_of_an_empty_database_makes_no_key_that_is_in_the_clear(
    tmp_path: Path, told: dict[str, Any], service: Service
) -> None:
    settings = Settings(
        database_url=f"sqlite:///{tmp_path / 'a.db'}", master_key_file=tmp_path / "k" / "m", **told
    )
    assert load_keyring(settings, may_create=True).first.id in (tmp_path / "k" / "m").read_text()
    service.lose()
    away = settings.model_copy(update={"master_key_file": tmp_path / "k" / "other"})
    with pytest.raises(KeyServiceFailed):
        load_keyring(away, may_create=True)
    assert not away.master_key_file.exists()


# --- when it is away -----------------------------------------------------------------------------------


@on_sqlite
def test_away_at_the_start_everything_is_locked_in_one_sentence_and_opens_when_it_is_back(
    wrapped: str, start: Callable[..., Server], service: Service
) -> None:
    before = start(wrapped).vault.sql("SELECT * FROM provider_keys")
    service.lose()
    locked = start(wrapped)
    status = locked.masters.status(actor=OPERATOR)
    assert [each.use for each in status.master_keys] == ["withheld"]
    assert {each.project for each in status.locked} == set(ALL)
    assert all(service.key in each.why for each in status.locked)
    with pytest.raises(KeyLocked, match=f"its key service {service.key}"):
        locked.vault.opened("search")
    for act in (
        lambda: locked.save("search", "sk-test-search-key-0009"),
        locked.masters.require_all,
        lambda: locked.masters.rotate(actor=OPERATOR),
    ):
        with pytest.raises(QodexError, match=f"its key service {service.key}"):
            act()
    assert locked.vault.sql("SELECT * FROM provider_keys") == before
    service.regain()
    locked.keyring._unwrapper.confirm()
    assert locked.opened() == ALL


@on_sqlite
def test_a_key_that_encrypts_and_is_withheld_is_not_replaced_by_the_next_one(
    wrapped: str, start: Callable[..., Server], service: Service
) -> None:
    service.lose()
    both = start(wrapped, OLD.reveal())
    with pytest.raises(KeyServiceFailed):
        _ = both.keyring.first
    with pytest.raises(QodexError, match="key service"):
        both.save("search", "sk-test-search-key-0009")


@on_sqlite
def test_a_rotation_to_a_key_that_is_withheld_does_not_begin(
    server: Server, database_url: str, told: dict[str, Any], service: Service
) -> None:
    made = Server(database_url, server.path, **told)
    made.masters.create(actor=OPERATOR)
    before = server.path.read_text()
    service.lose()
    away = Server(database_url, server.path, **told)
    with pytest.raises(KeyServiceFailed):
        away.masters.rotate(actor=OPERATOR)
    assert server.path.read_text() == before
    away.save("search", key := "sk-test-search-key-0009")
    assert away.opened() == ALL | {"search": key}
    for each in (made, away):
        each.database.close()


@on_sqlite
def test_away_later_keys_go_on_opening_for_an_hour_and_then_no_more(
    wrapped: str, start: Callable[..., Server], service: Service
) -> None:
    running = start(wrapped)
    now = [1000.0]
    running.keyring._unwrapper = Unwrapper.of(running.settings)
    running.keyring._unwrapper._clock = lambda: now[0]
    assert running.opened() == ALL
    service.lose()
    running.keyring._unwrapper.confirm()
    now[0] += HELD_SECONDS - 1
    assert running.opened() == ALL
    now[0] += 1
    with pytest.raises(KeyLocked, match="key service"):
        running.opened()
    service.regain()
    now[0] += CONFIRMED_SECONDS
    assert running.opened() == ALL


@on_sqlite
def test_a_refusal_counts_as_soon_as_it_is_heard_beside_the_calls(
    wrapped: str, start: Callable[..., Server], service: Service
) -> None:
    running = start(wrapped)
    now = [1000.0]
    running.keyring._unwrapper = Unwrapper.of(running.settings)
    running.keyring._unwrapper._clock = lambda: now[0]
    assert running.opened() == ALL
    service.refuse()
    now[0] += CONFIRMED_SECONDS
    (master_key_id,) = running.keyring.ids
    running.keyring.get(master_key_id)  # makes it ask; whether it still has the key depends on who is faster
    (held,) = running.keyring._unwrapper._held.values()
    assert wait_until(lambda: held.key is None, 30)
    assert running.keyring.get(master_key_id) is None
    with pytest.raises(KeyLocked, match="refuses"):
        running.opened()


@on_sqlite
def test_no_call_leaves_while_its_master_key_is_withheld(
    settings: Settings, upstream: ScriptedUpstream, told: dict[str, Any], service: Service
) -> None:
    entry = Unwrapper.of(Settings(**told)).new(ServiceKey(*service.key.split(":", 1))).text
    sealed = settings.model_copy(update={"master_keys": Secret(entry)} | told)
    with_key = Platform(sealed)
    with_key.projects.add("shop", actor=with_key.actor)
    with_key.keys.save("shop", GOOD_KEY)
    with_key.close()
    upstream.requests.clear()
    service.lose()
    without = Platform(sealed)
    with pytest.raises(KeyLocked, match="key service"), without.run("shop") as run:
        run.openai.responses.create(model="gpt-5-mini", input="Hi")
    assert upstream.requests == []
    without.close()


# --- what is not believed, and what is not shown ----------------------------------------------------------


@on_sqlite
def test_what_the_service_gives_is_taken_only_where_it_is_the_key_that_is_named(
    wrapped: str, start: Callable[..., Server]
) -> None:
    found = wrapped_in(Secret(wrapped))
    assert found
    other = wrapped_in(Secret(new_entry(start(wrapped))))
    assert other
    server = start(found._replace(ciphertext=other.ciphertext).text)
    assert server.keyring.get(found.id) is None
    assert server.keyring.withheld(found.id)


def test_a_failure_holds_neither_the_token_nor_the_key(told: dict[str, Any], service: Service) -> None:
    import traceback

    raw = base64.b64decode(OLD.reveal())
    by = ServiceKey(*service.key.split(":", 1))
    unwrapper = Unwrapper.of(Settings(**told))
    ciphertext = unwrapper._services[by.service].wrap(by, raw, MasterKey(raw).id)
    service.lose()
    for act in (
        lambda: unwrapper._services[by.service].wrap(by, raw, MasterKey(raw).id),
        lambda: unwrapper._services[by.service].unwrap(Wrapped(by, OLD_ID, ciphertext)),
    ):
        with pytest.raises(KeyServiceFailed) as caught:
            act()
        problem: BaseException | None = caught.value
        while problem:
            trace = traceback.TracebackException.from_exception(problem, capture_locals=True)
            shown = "".join(str(frame.locals) for frame in trace.stack if frame.filename != __file__)
            assert OLD.reveal() not in shown
            assert repr(raw) not in shown
            if token := told.get("vault_token"):
                assert token.reveal() not in shown
            problem = problem.__cause__ or problem.__context__


def test_no_log_at_any_level_holds_the_key(
    told: dict[str, Any], service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    raw = base64.b64decode(OLD.reveal())
    by = ServiceKey(*service.key.split(":", 1))
    asked = Unwrapper.of(Settings(**told))._services[by.service]
    with caplog.at_level(logging.DEBUG):
        ciphertext = asked.wrap(by, raw, OLD_ID)
        assert asked.unwrap(Wrapped(by, OLD_ID, ciphertext)).id == OLD_ID
    assert caplog.text
    for said in (OLD.reveal(), repr(raw)):
        assert said not in caplog.text


def test_the_authority_that_is_named_is_the_one_that_is_trusted(tmp_path: Path) -> None:
    raw = base64.b64decode(OLD.reveal())
    with running_openbao(tmp_path, tls=True) as service:
        by = ServiceKey(*service.key.split(":", 1))
        trusting = Transit(Settings(**service.settings))
        assert trusting.unwrap(Wrapped(by, OLD_ID, trusting.wrap(by, raw, OLD_ID))).id == OLD_ID
        with pytest.raises(KeyServiceFailed, match="SSLError"):
            Transit(Settings(**service.settings | {"vault_cacert": None})).wrap(by, raw, OLD_ID)


def test_no_variable_has_the_keys_of_a_connection_written_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With them a recorded connection gives the master key and the token."""
    raw, written = base64.b64decode(OLD.reveal()), tmp_path / "session-keys"
    with running_openbao(tmp_path, tls=True) as service:
        monkeypatch.setenv("SSLKEYLOGFILE", str(written))
        asked = Transit(Settings(**service.settings))
        assert asked.wrap(ServiceKey(*service.key.split(":", 1)), raw, OLD_ID)
        assert not written.exists()


@on_sqlite
def test_the_token_is_read_anew_from_its_file(
    server: Server, database_url: str, tmp_path: Path, service: Service
) -> None:
    if not (token := service.settings.get("vault_token")):
        pytest.skip("AWS has its own ways")
    file = tmp_path / "token"
    told = service.settings | {"vault_token_file": file, "key_service": service.key}
    reading = Server(database_url, server.path, OLD.reveal(), **told)
    with pytest.raises(KeyServiceFailed, match="refuses"):
        new_entry(reading)
    file.write_text(f"{token.reveal()}\n")
    assert wrapped_in(Secret(new_entry(reading)))
    reading.database.close()


# --- what an operator sees ------------------------------------------------------------------------------


@on_sqlite
def test_commands_say_which_service_it_is_and_what_it_said(
    wrapped: str, database_url: str, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = {"DATABASE_URL": database_url, "QODEX_MASTER_KEYS": wrapped, "QODEX_KEY_SERVICE": service.key}
    if "vault_addr" in service.settings:
        variables |= {
            "VAULT_ADDR": service.settings["vault_addr"],
            "VAULT_TOKEN": service.settings["vault_token"].reveal(),
        }

    def run(*words: str) -> Any:
        return CliRunner().invoke(cli, words, env=variables)

    made = run("master", "new")
    assert wrapped_in(Secret(made.stdout))
    assert "only its key service opens it" in made.stderr
    assert run("master", "status").exit_code == 0
    service.lose()
    status = run("master", "status")
    assert status.exit_code == 1
    assert "NOT GIVEN by its key service" in status.stdout
    assert "key service" in run("doctor").stdout
    failed = run("master", "new")
    assert failed.exit_code == 1
    assert failed.stdout == ""
    assert service.key in failed.stderr


def test_without_its_package_the_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hvac", None)
    with pytest.raises(SettingsError, match=r"pip install 'qodex-byok\[vault\]'"):
        Transit(Settings(vault_addr="http://127.0.0.1:1")).wrap(ServiceKey("transit", "a"), b"", "mk-1")


class _Elsewhere(BaseHTTPRequestHandler):
    """An address that sends everything on to another one, and notes what came with it there."""

    seen: ClassVar[list[tuple[str, str | None]]] = []

    def do_POST(self) -> None:
        self.seen.append((self.path, self.headers["X-Vault-Token"]))
        self.send_response(307)
        self.send_header("Location", f"http://localhost:{self.server.server_address[1]}/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_PUT = do_POST  # noqa: N815 - as http.server calls it

    def log_message(self, *_: object) -> None:
        """Nothing."""


def test_a_token_does_not_follow_a_redirect() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Elsewhere) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}"
        transit = Transit(Settings(vault_addr=address, vault_token=Secret("a-token")))
        with pytest.raises(KeyServiceFailed):
            transit.unwrap(Wrapped(ServiceKey("transit", "qodex"), "mk-000000000000", "vault:v1:x"))
        server.shutdown()
    assert [token for _, token in _Elsewhere.seen] == ["a-token"]
