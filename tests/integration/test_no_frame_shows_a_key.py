"""Whatever a door that takes or makes secret text fails of, no frame of ours shows it (promise 3).

Error reporters show the variables of each frame. An exception may come in any line: the disk is full, a folder is
read-only, a signal's handler raises. So each line that a door runs is looked at, as a reporter would see it then; and
the files that hold master keys are made to fail in every way that a file can.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import resource
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from lib.cli import cli
from lib.errors import QodexError
from lib.secret import Secret, redact
from lib.settings import ROOT, Settings
from lib.vault.master_keys import keyfile, masters
from tests.calls import SAY, drive

if TYPE_CHECKING:
    from lib.platform import Platform
    from tests.upstream import ScriptedUpstream

on_sqlite = pytest.mark.parametrize("database_kind", ["sqlite"])
PLANTED = "sk-test-Zq7PlantedXw9Kd2-7777"
_BYTES = hashlib.sha256(b"planted").digest()
MASTER = base64.b64encode(_BYTES).decode()
PIECES = {PLANTED[8:20], MASTER[:12], repr(_BYTES[:8])[2:-1]}
WRITTEN: dict[str, Any] = {"master_keys": MASTER, "openai_api_key": PLANTED, "cookie_secret": PLANTED}
_INIT = Secret.__init__.__code__
_HIDDEN = redact.__code__  # the wrapper of all that look into a key's text


def shows(value: object, pieces: set[str]) -> bool:
    try:
        told = repr(value)
    except Exception:  # noqa: BLE001 - half-made
        return False
    return any(piece in told for piece in pieces)


class Watch:
    """Looks at the variables of each frame of ours, at each of its lines."""

    def __init__(self) -> None:
        self.pieces = set(PIECES)
        self.found: set[tuple[str, str, str]] = set()

    def __call__(self, frame: FrameType, _event: str, _argument: object) -> Any:
        code = frame.f_code
        if code in {_INIT, _HIDDEN} or not code.co_filename.startswith(f"{ROOT}/lib/"):
            return None
        for name, value in list(frame.f_locals.items()):
            if shows(value, self.pieces) and not self._is_hidden(frame):
                self.found.add((code.co_filename.removeprefix(f"{ROOT}/"), code.co_name, name))
        return self

    def _is_hidden(self, frame: FrameType | None) -> bool:
        """Whether an exception would lose this frame on its way out."""
        while frame is not None:
            if frame.f_code is _HIDDEN:
                return True
            frame = frame.f_back
        return False


@contextmanager
def watched() -> Iterator[Watch]:
    watch = Watch()
    made = masters.new_key

    def new_key() -> Secret:
        key = made()
        watch.pieces.add(key.reveal()[:12])
        return key

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lib.vault.master_keys.masters.new_key", new_key)
        threading.settrace(watch)
        sys.settrace(watch)
        try:
            yield watch
        finally:
            sys.settrace(None)
            threading.settrace(None)  # type: ignore[arg-type]


def call(platform: Platform, way: str = "sync") -> None:
    with platform.run("shop") as run:
        drive(run, way, lambda client: client.chat.completions.create(model="gpt-5", messages=SAY))


def live(platform: Platform) -> None:
    """A master key's whole life."""
    old = platform.masters.status(actor=platform.actor).master_keys[0].id
    platform.masters.create(actor=platform.actor)
    platform.masters.rotate(actor=platform.actor)
    platform.masters.retire(old, actor=platform.actor)


def run_command(platform: Platform, *words: str, typed: str = "") -> None:
    environment = {
        "DATABASE_URL": platform.settings.database_url,
        "QODEX_MASTER_KEY_FILE": str(platform.settings.master_key_file),
        "OPENAI_BASE_URL": platform.settings.openai_base_url,
    }
    CliRunner().invoke(cli, words, input=typed, env=environment)


def misuse(platform: Platform) -> None:
    for asked in (
        {"slug": "nobody"},
        {"slug": "shop", "provider": "google"},
        {"slug": "shop", "expected_version": 7},
    ):
        with suppress(QodexError):
            platform.keys.save(key=PLANTED, **asked)  # type: ignore[arg-type]


DOORS: dict[str, Callable[[Platform], object]] = {
    "resolve": lambda platform: platform.keys.resolve("shop"),
    "check": lambda platform: platform.keys.check("shop"),
    "describe": lambda platform: platform.keys.describe("shop"),
    "save": lambda platform: platform.keys.save("shop", PLANTED),
    "refused saves": misuse,
    "call": call,
    "asynchronous call": lambda platform: call(platform, "async"),
    "keys set": lambda platform: run_command(platform, "keys", "set", "shop", typed=PLANTED),
    "keys set, malformed": lambda platform: run_command(
        platform, "keys", "set", "shop", typed=f"{PLANTED} x"
    ),
    "master status": lambda platform: platform.masters.status(actor=platform.actor),
    "master new, rotate, retire": live,
    "master seal": lambda platform: platform.unsealed.find(actor=platform.actor),
    "settings": lambda _: Settings(**WRITTEN),
    "unusable settings": lambda _: Settings(**{name: f"{text} x" for name, text in WRITTEN.items()}),
    "unusable master keys": lambda _: masters.parse("X", masters.entries_of(Secret(f"{MASTER},{MASTER}x"))),
}
GIVEN = {("lib/keys.py", "save", "key"), ("lib/environment/setting_types.py", "_wrap", "value")}
"""Arguments in the first line of the door itself, where the caller's own frame has them too."""


@pytest.fixture
def planted(settings: Settings, upstream: ScriptedUpstream, tmp_path: Path) -> Iterator[Platform]:
    """A front door whose master keys are in a file, and a project with a key of its own."""
    from lib.platform import Platform

    upstream.keys[PLANTED] = "good"
    path = tmp_path / "keys" / "master.key"
    keyfile.create(path, Secret(f"{MASTER}\n"))
    told = {"master_key_file": path, "master_keys": None, "openai_api_key": Secret(PLANTED)}
    front_door = Platform(settings.model_copy(update=told))
    front_door.projects.add("shop", actor=front_door.actor)
    front_door.keys.save("shop", PLANTED)
    yield front_door
    front_door.close()


@on_sqlite
@pytest.mark.parametrize("name", DOORS)
def test_at_no_line_of_any_door_a_variable_shows_it(planted: Platform, name: str):
    with watched() as watch, suppress(QodexError, ValueError):
        DOORS[name](planted)
    assert watch.found - GIVEN == set()


@on_sqlite
def test_the_watch_sees_what_is_shown(planted: Platform):
    with watched() as watch:
        planted.keys.save("shop", PLANTED)
    assert watch.found & GIVEN


# --- the files of master keys --------------------------------------------------------------------------


def frames_of(problem: BaseException) -> str:
    """All that an error reporter would tell; frames of this file, which hold the keys, excepted."""
    told = [str(problem), repr(problem)]
    trace = traceback.TracebackException.from_exception(problem, capture_locals=True)
    while trace is not None:
        told += [str(frame.locals) for frame in trace.stack if frame.filename != __file__]
        trace = trace.__cause__ or trace.__context__
    return "".join(told)


class TimeLimit(BaseException):
    """Raised by a signal's handler, anywhere."""


PLACES = ("tempfile.mkstemp", "os.fdopen", "os.fsync", "os.link", "pathlib.Path.replace", "os.open")
ENDS: dict[str, BaseException] = {
    "full": OSError(errno.ENOSPC, "No space left on device"),
    "read-only": OSError(errno.EROFS, "Read-only file system"),
    "interrupted": TimeLimit(),
}
WRITERS: dict[str, Callable[[Platform], object]] = {
    "made on the first start": lambda platform: masters.load_keyring(
        platform.settings.model_copy(
            update={"master_key_file": platform.settings.master_key_file.with_name("new")}
        ),
        may_create=True,
    ),
    "new": lambda platform: platform.masters.create(actor=platform.actor),
    "new, and rotated": live,
}


@on_sqlite
@pytest.mark.parametrize("place", PLACES)
def test_a_file_of_master_keys_that_cannot_be_written_is_in_no_frame(
    planted: Platform, monkeypatch: pytest.MonkeyPatch, place: str
):
    made = []
    real = masters.new_key
    monkeypatch.setattr("lib.vault.master_keys.masters.new_key", lambda: made.append(real()) or made[-1])
    told = [
        problem
        for end in ENDS.values()
        for write in WRITERS.values()
        for _ in range(2)  # whoever finds it half-done fails as silently
        if (problem := failed(lambda write=write: write(planted), place, end, monkeypatch))
    ]
    assert made
    pieces = PIECES | {key.reveal()[:12] for key in made}
    assert [piece for piece in pieces if any(piece in text for text in told)] == []


def failed(act: Callable[[], object], place: str, end: BaseException, monkeypatch: pytest.MonkeyPatch) -> str:
    """What a reporter would tell of an act where this call of the system ends so; empty where it went well."""

    def fail(*_: object, **__: object) -> None:
        raise end

    with monkeypatch.context() as patch:
        patch.setattr(place, fail)
        try:
            act()
        except (QodexError, OSError, TimeLimit) as problem:
            return frames_of(problem)
    return ""


def test_a_disk_that_is_really_full_is_in_no_frame(tmp_path: Path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        with pytest.raises(QodexError) as problem:
            keyfile.create(tmp_path / "master.key", Secret(MASTER))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "File too large" in str(problem.value)
    assert [piece for piece in PIECES if piece in frames_of(problem.value)] == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a" * 300, "file/below", "."], ids=["too long", "below a file", "a folder"])
def test_a_place_where_no_file_can_be_is_in_no_frame(tmp_path: Path, name: str):
    (tmp_path / "file").touch()
    with pytest.raises((QodexError, FileExistsError)) as problem:
        keyfile.create(tmp_path / name, Secret(MASTER))
    assert [piece for piece in PIECES if piece in frames_of(problem.value)] == []
