"""Master keys: read, refused, and made once."""

from __future__ import annotations

import base64
import logging
import os
import stat
import threading
import traceback
from pathlib import Path

import pytest

from lib.errors import MasterKeyMissing, SettingsError
from lib.secret import Secret
from lib.settings import Settings
from lib.vault.master_keys.masters import Keyring, load_keyring
from lib.vault.sealing import Binding, MasterKey

RAW = [os.urandom(32) for _ in range(3)]
TEXT = [base64.b64encode(raw).decode() for raw in RAW]
IDS = [MasterKey(raw).id for raw in RAW]
ROW = Binding("deployment-1", "project-1", "openai", "secret-1", 1)


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    return tmp_path / "keys" / "master.key"


def settings(tmp_path: Path, *, keys: str | None = None, database_url: str | None = None) -> Settings:
    return Settings(
        database_url=database_url or f"sqlite:///{tmp_path / 'db' / 'qodex.db'}",
        master_key_file=tmp_path / "keys" / "master.key",
        master_keys=Secret(keys) if keys else None,
    )


def written(path: Path, text: str, *, mode: int = 0o600) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


# --- several keys ----------------------------------------------------------------------------------


def test_the_first_key_seals_and_every_key_opens_what_names_it(tmp_path):
    old = Keyring([MasterKey(RAW[1])]).first.seal(Secret("text"), ROW)
    keyring = load_keyring(settings(tmp_path, keys=f"{TEXT[0]},{TEXT[1]}"), may_create=False)
    new = keyring.first.seal(Secret("text"), ROW)
    assert [new.master_key_id, old.master_key_id] == keyring.ids == IDS[:2]
    assert [
        keyring.get(sealed.master_key_id).open(sealed, "text", ROW).reveal() for sealed in (new, old)
    ] == ["text"] * 2
    assert keyring.get(IDS[2]) is None


def test_the_order_decides_which_one_seals(tmp_path):
    assert load_keyring(settings(tmp_path, keys=f"{TEXT[1]},{TEXT[0]}"), may_create=False).first.id == IDS[1]


def test_the_variable_wins_over_the_file(tmp_path, key_file):
    written(key_file, TEXT[1])
    assert load_keyring(settings(tmp_path, keys=TEXT[0]), may_create=True).ids == [IDS[0]]


@pytest.mark.parametrize(
    "written_as",
    ["{0}\n{1}\n", "\r\n{0}\r\n{1}", "# the new one\n{0}\n\n# the old one\n{1}", "  {0}  \n\t{1}\t\n"],
    ids=["lines", "Windows lines", "with comments", "with white space"],
)
def test_the_file_has_one_key_a_line(tmp_path, key_file, written_as):
    written(key_file, written_as.format(*TEXT))
    assert load_keyring(settings(tmp_path), may_create=False).ids == IDS[:2]


def test_the_same_key_twice_is_one_key(tmp_path):
    assert load_keyring(settings(tmp_path, keys=f"{TEXT[0]}, {TEXT[0]}"), may_create=False).ids == [IDS[0]]


def test_base64_for_addresses_is_read_too(tmp_path):
    raw = b"\xfb\xff" + RAW[0][2:]
    text = base64.urlsafe_b64encode(raw).decode()
    assert load_keyring(settings(tmp_path, keys=text), may_create=False).ids == [MasterKey(raw).id]


# --- what is no master key -------------------------------------------------------------------------

NO_KEYS = {
    "a passphrase": "correct horse battery staple",
    "a passphrase of 32 characters, in base64": base64.b64encode(
        b"correct horse battery staple 123"
    ).decode(),
    "a passphrase that is base64 by chance": "correcthorsebatterystaplecorrecthorsebatter=",
    "a placeholder": "change-me",
    "an instruction": "REPLACE_WITH_BASE64_OF_32_RANDOM_BYTES",
    "zeros": base64.b64encode(bytes(32)).decode(),
    "one byte again and again": base64.b64encode(b"\xa7" * 32).decode(),
    "a word again and again": "0123456789abcdef0123456789abcdef0123456789w=",
    "sixteen bytes twice": base64.b64encode(bytes(range(40, 200, 10)) * 2).decode(),
    "counted up": base64.b64encode(bytes(range(32))).decode(),
    "counted down by sevens": base64.b64encode(bytes(250 - 7 * step for step in range(32))).decode(),
    "hexadecimal": RAW[0].hex(),
    "16 bytes": base64.b64encode(RAW[0][:16]).decode(),
    "33 bytes": base64.b64encode(RAW[0] + b"\xa7").decode(),
    "64 bytes": base64.b64encode(RAW[0] + RAW[1]).decode(),
    "without its padding": TEXT[0].rstrip("="),
    "two keys in one": TEXT[0] + TEXT[1],
    "with a space inside": f"{TEXT[0][:20]} {TEXT[0][20:]}",
    "with a zero-width space": f"{TEXT[0]}\u200b",
}


@pytest.mark.parametrize("what", NO_KEYS)
def test_it_is_refused_by_name_and_not_repeated(tmp_path, what):
    with pytest.raises(
        SettingsError, match=r"^QODEX_MASTER_KEYS: key 2 is not base64 of 32 random bytes"
    ) as refusal:
        load_keyring(settings(tmp_path, keys=f"{TEXT[0]},{NO_KEYS[what]}"), may_create=True)
    assert NO_KEYS[what] not in str(refusal.value)
    assert TEXT[0] not in str(refusal.value)


@pytest.mark.parametrize(
    "content", ["", "\n\n", "# nothing yet\n", "change-me\n", "\ufeffchange-me", "\0" * 50]
)
def test_a_file_without_a_key_is_refused_and_left_as_it_is(tmp_path, key_file, content):
    written(key_file, content)
    before = key_file.read_bytes()
    with pytest.raises(SettingsError, match=r"^QODEX_MASTER_KEY_FILE: "):
        load_keyring(settings(tmp_path), may_create=True)
    assert key_file.read_bytes() == before


@pytest.mark.parametrize("keys", [",", " , ,"])
def test_a_variable_without_a_key_is_refused(tmp_path, keys):
    with pytest.raises(SettingsError, match="QODEX_MASTER_KEYS: holds no key"):
        load_keyring(settings(tmp_path, keys=keys), may_create=True)


def test_no_key_that_the_system_makes_is_ever_taken_for_a_passphrase(tmp_path):
    for _ in range(500):
        text = base64.b64encode(os.urandom(32)).decode()
        assert load_keyring(settings(tmp_path, keys=text), may_create=False).ids


@pytest.mark.parametrize("where", ["variable", "file"])
def test_no_frame_of_a_refusal_shows_the_other_keys(tmp_path, key_file, where):
    """Error reporters tell the variables of each frame."""
    written(key_file, f"{TEXT[0]}\nchange-me\n")
    keys = f"{TEXT[0]},change-me" if where == "variable" else None
    with pytest.raises(SettingsError) as refusal:
        load_keyring(settings(tmp_path, keys=keys), may_create=False)
    trace = traceback.TracebackException.from_exception(refusal.value, capture_locals=True)
    told = "".join(str(frame.locals) for frame in trace.stack if frame.filename != __file__)
    assert TEXT[0][:12] not in told


# --- who may read the file -------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620, 0o610, 0o601, 0o666, 0o777], ids=oct)
def test_a_file_that_others_may_touch_is_refused(tmp_path, key_file, mode):
    written(key_file, TEXT[0], mode=mode)
    with pytest.raises(
        SettingsError, match=r"QODEX_MASTER_KEY_FILE: others can read master.key. Run: chmod 600"
    ):
        load_keyring(settings(tmp_path), may_create=True)


@pytest.mark.parametrize("mode", [0o600, 0o400], ids=oct)
def test_a_file_for_its_owner_alone_is_read(tmp_path, key_file, mode):
    written(key_file, TEXT[0], mode=mode)
    assert load_keyring(settings(tmp_path), may_create=True).ids == [IDS[0]]


def test_a_folder_in_its_place_is_one_sentence(tmp_path, key_file):
    key_file.mkdir(parents=True)
    with pytest.raises(SettingsError, match="QODEX_MASTER_KEY_FILE: cannot be read"):
        load_keyring(settings(tmp_path), may_create=True)


# --- made once -------------------------------------------------------------------------------------


def test_it_is_made_for_its_owner_alone_whatever_the_umask(tmp_path, key_file):
    before = os.umask(0)
    try:
        keyring = load_keyring(settings(tmp_path), may_create=True)
    finally:
        os.umask(before)
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(key_file.parent.stat().st_mode) == 0o700
    assert load_keyring(settings(tmp_path), may_create=True).ids == keyring.ids


def test_the_log_says_to_back_it_up_and_not_what_it_is(tmp_path, key_file, caplog):
    with caplog.at_level(logging.DEBUG):
        load_keyring(settings(tmp_path), may_create=True)
    assert f"A master key was made in {key_file}. Back it up" in caplog.text
    assert key_file.read_text().strip() not in caplog.text


def test_where_it_may_not_be_made_none_is_and_saving_says_what_is_missing(tmp_path, key_file):
    keyring = load_keyring(settings(tmp_path), may_create=False)
    assert keyring.ids == []
    assert not key_file.exists()
    with pytest.raises(
        MasterKeyMissing, match="Set QODEX_MASTER_KEYS, or put the file of QODEX_MASTER_KEY_FILE back"
    ):
        _ = keyring.first


def test_the_log_warns_of_a_key_that_is_made_beside_the_database(tmp_path, key_file, caplog):
    """There it is in every copy of that folder."""
    beside = settings(tmp_path, database_url=f"sqlite:///{key_file.parent / 'qodex.db'}")

    keyring = load_keyring(beside, may_create=True)

    assert len(keyring.ids) == 1
    assert "lies beside the database" in caplog.text


def test_many_that_start_at_once_make_one_key(tmp_path, key_file):
    found, start = [], threading.Barrier(16)

    def start_up() -> None:
        start.wait()
        found.extend(load_keyring(settings(tmp_path), may_create=True).ids)

    threads = [threading.Thread(target=start_up) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [MasterKey(base64.b64decode(key_file.read_text())).id] * 16
    assert list(key_file.parent.iterdir()) == [key_file]


def test_what_a_killed_start_left_behind_is_no_obstacle(tmp_path, key_file):
    """In a container every start has the same process id."""
    written(key_file.with_name(f".master.key.{os.getpid()}"), "half a k")
    assert load_keyring(settings(tmp_path), may_create=True).ids


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path, key_file):
    key_file.parent.write_text("a file where the folder should be")
    with pytest.raises(SettingsError, match="QODEX_MASTER_KEY_FILE: cannot be"):
        load_keyring(settings(tmp_path), may_create=True)
