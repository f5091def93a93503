"""The file of master keys: what is added, put first and taken out, and how it is written."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from lib.errors import MasterKeyMissing, SettingsError
from lib.secret import Secret
from lib.settings import Settings
from lib.vault.master_keys import keyfile
from lib.vault.master_keys.masters import id_of, load_keyring, new_key

OLD, NEW, NEWER = (new_key().reveal() for _ in range(3))
OLD_ID, NEW_ID, NEWER_ID = (id_of(Secret(line)) for line in (OLD, NEW, NEWER))


def keys_of(text: Secret) -> list[str]:
    return [line.reveal() for line in keyfile.lines_of(text) if id_of(line)]


# --- the text --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "before", [f"{OLD}\n", OLD, f"# ours\n{OLD}\n\n"], ids=["a line", "without its end", "with a comment"]
)
def test_a_new_key_comes_last_and_is_marked_as_the_next_one(before):
    after = keyfile.with_next(Secret(before), Secret(NEW))
    assert keys_of(after) == [OLD, NEW]
    assert keyfile.next_of(after, id_of) == NEW_ID
    assert after.reveal().startswith(before.rstrip())


def test_the_only_key_of_a_file_is_no_next_one():
    assert keyfile.with_next(Secret(""), Secret(OLD)) == Secret(f"{OLD}\n")
    assert keyfile.next_of(Secret(f"{OLD}\n"), id_of) is None


@pytest.mark.parametrize(
    "text",
    [
        f"{OLD}\n{NEW}\n",
        f"# old\n{OLD}\n# new\n{NEW}\n",
        f"# next: opens\n{OLD}\n{NEW}\n",
        f"{OLD}\n# next:\n",
    ],
    ids=["no mark", "other comments", "the first is marked", "a mark of nothing"],
)
def test_only_a_marked_key_that_is_not_the_first_is_the_next_one(text):
    """Else a second rotation would turn back to the old key."""
    assert keyfile.next_of(Secret(text), id_of) is None


def test_of_several_new_keys_the_newest_is_the_next_one_and_then_none_is():
    text = keyfile.with_next(keyfile.with_next(Secret(f"# ours\n{OLD}\n"), Secret(NEW)), Secret(NEWER))
    assert keyfile.next_of(text, id_of) == NEWER_ID
    after = keyfile.with_first(text, NEWER_ID, id_of)
    assert after.reveal() == f"{NEWER}\n# ours\n{OLD}\n{NEW}\n"
    assert keyfile.next_of(after, id_of) is None


def test_a_key_is_taken_out_with_its_mark_and_wherever_it_stands_twice():
    text = Secret(keyfile.with_next(Secret(f"# ours\n{OLD}\n"), Secret(NEW)).reveal() + f"{OLD}\n")
    assert keyfile.without(text, OLD_ID, id_of).reveal().splitlines()[0] == "# ours"
    assert keys_of(keyfile.without(text, OLD_ID, id_of)) == [NEW]
    assert keyfile.without(text, NEW_ID, id_of).reveal() == f"# ours\n{OLD}\n{OLD}\n"


# --- the file --------------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "keys" / "master.key"
    keyfile.create(found, Secret(f"{OLD}\n"))
    return found


def test_it_is_replaced_whole_for_its_owner_alone_and_nothing_is_left_beside_it(path):
    before = os.umask(0)
    try:
        keyfile.replace(path, Secret(f"{NEW}\n"))
    finally:
        os.umask(before)
    assert (keyfile.read(path), stat.S_IMODE(path.stat().st_mode)) == (Secret(f"{NEW}\n"), 0o600)
    assert list(path.parent.iterdir()) == [path]


def test_what_a_killed_write_left_behind_is_cleaned_up_by_the_next_one(path):
    left = path.with_name(f".{path.name}.killed.part")
    left.write_text(OLD)
    others = path.with_name(f"{path.name}.bak")
    others.write_text("of the operator")
    keyfile.replace(path, Secret(f"{NEW}\n"))
    assert sorted(path.parent.iterdir()) == [path, others]


def test_a_folder_that_cannot_be_written_leaves_the_file_as_it_is(path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SettingsError, match=r"^QODEX_MASTER_KEY_FILE: cannot be written \(No space left"):
        keyfile.replace(path, Secret(f"{NEW}\n"))
    assert keyfile.read(path) == Secret(f"{OLD}\n")
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_root_does_not_lock_the_server_out_of_its_file(path):
    os.chown(path, 12345, 12346)
    keyfile.replace(path, Secret(f"{NEW}\n"))
    assert (path.stat().st_uid, path.stat().st_gid) == (12345, 12346)


# --- while a process runs --------------------------------------------------------------------------


@pytest.fixture
def keyring(path: Path, tmp_path: Path):
    settings = Settings(database_url=f"sqlite:///{tmp_path / 'qodex.db'}", master_key_file=path)
    return load_keyring(settings, may_create=False)


def test_a_running_process_learns_a_new_key_when_it_first_needs_it(path, keyring):
    keyfile.replace(path, Secret(f"{OLD}\n{NEW}\n"))
    assert keyring.get(NEW_ID).id == NEW_ID
    assert keyring.first.id == OLD_ID
    keyfile.replace(path, Secret(f"{NEW}\n{OLD}\n"))
    assert keyring.first.id == NEW_ID


def test_a_file_that_was_put_back_needs_no_restart(path, tmp_path):
    kept = path.rename(tmp_path / "elsewhere")
    settings = Settings(database_url=f"sqlite:///{tmp_path / 'qodex.db'}", master_key_file=path)
    keyring = load_keyring(settings, may_create=False)
    with pytest.raises(MasterKeyMissing):
        _ = keyring.first
    kept.rename(path)
    assert keyring.first.id == OLD_ID


@pytest.mark.parametrize("harm", ["gone", "open to others", "broken"])
def test_without_its_file_a_process_goes_on_opening_and_seals_nothing(path, keyring, harm):
    """What it sealed now, nobody could open after a restart."""
    if harm == "gone":
        path.unlink()
    elif harm == "broken":
        path.write_text("half a k")
    else:
        path.chmod(0o644)
    assert keyring.get(OLD_ID) is not None
    assert keyring.get(NEW_ID) is None
    with pytest.raises((MasterKeyMissing, SettingsError)):
        _ = keyring.first
