"""Sealing: what is sealed for one row opens in that row and nowhere else."""

from __future__ import annotations

import copy
import pickle
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.secret import Secret
from lib.vault.sealing import (
    KEY_BYTES,
    SCHEME,
    Binding,
    DoesNotOpen,
    MasterKey,
    Sealed,
    data_key_context,
    value_context,
)

RAW = bytes(range(100, 132))
MASTER = MasterKey(RAW)
KEY = "sk-test-planted-key-7777"
ROW = Binding("deployment-1", "project-1", "openai", "secret-1", 3)
SEALED = MASTER.seal(Secret(KEY), ROW)

# Few characters, among them those that the lengths are made of: parts that could run into each other.
part = st.text(alphabet="\0\1\3a1", max_size=6) | st.text(max_size=12)
bindings = st.builds(Binding, part, part, part, part, st.integers(min_value=0, max_value=10**20))


def _parts(associated: bytes) -> tuple[str, ...]:
    """Read associated data back: if that is possible, no two different rows share it."""
    found = []
    while associated:
        length = int.from_bytes(associated[:4], "big")
        found.append(associated[4 : 4 + length].decode())
        associated = associated[4 + length :]
    return tuple(found)


# --- what belongs together -------------------------------------------------------------------------


@given(binding=bindings, more=part)
def test_every_part_of_a_row_can_be_read_back_from_its_associated_data(binding, more):
    *ids, version = binding
    row = binding.packed()
    assert _parts(data_key_context(row, more)) == (SCHEME, "data key", *ids, str(version), more)
    assert _parts(value_context(row, more)) == (SCHEME, "value", *ids, str(version), more)


@given(one=bindings, other=bindings, last=st.tuples(part, part))
def test_no_two_different_rows_share_their_associated_data(one, other, last):
    same = (one, last[0]) == (other, last[1])
    rows = one.packed(), other.packed()
    for context in (data_key_context, value_context):
        assert (context(rows[0], last[0]) == context(rows[1], last[1])) is same
    assert data_key_context(rows[0], last[0]) != value_context(rows[0], last[0])


@given(
    whole=st.text(alphabet="\0\1a1", min_size=2, max_size=10), cuts=st.tuples(st.integers(), st.integers())
)
def test_a_character_that_moves_from_one_part_to_the_next_makes_another_row(whole, cuts):
    one, other = (cut % (len(whole) + 1) for cut in cuts)
    rows = [Binding("d", whole[:cut], whole[cut:], "s", 1) for cut in (one, other)]
    assert (rows[0].packed() == rows[1].packed()) is (one == other)


# --- records ---------------------------------------------------------------------------------------

plain = st.text(alphabet="a1;=/", max_size=6)


@given(parts=st.lists(plain, min_size=1, max_size=4), others=st.lists(plain, min_size=1, max_size=4))
def test_a_master_key_vouches_for_what_it_authenticated_and_for_nothing_else(parts, others):
    seal = MASTER.authenticate(*parts)
    assert MASTER.vouches(seal, *parts)
    assert MASTER.vouches(seal, *others) is (parts == others)
    assert not MasterKey(bytes(range(101, 133))).vouches(seal, *parts)


@given(whole=st.text(alphabet="\0a1", max_size=8), cuts=st.tuples(st.integers(), st.integers()))
def test_a_character_that_moves_from_one_part_of_a_record_to_the_next_makes_another_record(whole, cuts):
    one, other = ([whole[: cut % (len(whole) + 1)], whole[cut % (len(whole) + 1) :]] for cut in cuts)
    if "\0" in whole:  # it stands between the parts
        with pytest.raises(ValueError, match="NUL"):
            MASTER.authenticate(*one)
        assert not MASTER.vouches(MASTER.authenticate("a"), *one)
    else:
        assert MASTER.vouches(MASTER.authenticate(*one), *other) is (one == other)


def test_what_is_no_seal_vouches_for_nothing():
    for seal in (None, "", "text", 7, 0.5, b"", b"\0", b"\0" * 28, SEALED.value, SEALED.data_key):
        assert not MASTER.vouches(seal, "a", "b")


@given(at=st.integers(min_value=0), bit=st.integers(0, 7))
def test_a_seal_with_any_bit_flipped_vouches_for_nothing(at, bit):
    content = bytearray(MASTER.authenticate("a", "b"))
    content[at % len(content)] ^= 1 << bit
    assert not MASTER.vouches(bytes(content), "a", "b")


# --- opening ---------------------------------------------------------------------------------------


@given(text=st.text(max_size=600), binding=bindings)
def test_what_was_sealed_for_a_row_opens_in_that_row(text, binding):
    assert MASTER.open(MASTER.seal(Secret(text), binding), text[-4:], binding).reveal() == text


@pytest.mark.parametrize(
    "elsewhere",
    [
        ROW._replace(deployment_id="deployment-2"),
        ROW._replace(project_id="project-2"),
        ROW._replace(provider="anthropic"),
        ROW._replace(secret_id="secret-2"),
        ROW._replace(version=4),
    ],
    ids=["deployment", "project", "provider", "secret", "version"],
)
def test_it_opens_in_no_other(elsewhere):
    with pytest.raises(DoesNotOpen):
        MASTER.open(SEALED, "7777", elsewhere)


def test_it_does_not_open_under_another_last_four():
    with pytest.raises(DoesNotOpen):
        MASTER.open(SEALED, "7778", ROW)


def test_another_master_key_does_not_open_it():
    with pytest.raises(DoesNotOpen):
        MasterKey(bytes(range(101, 133))).open(SEALED, "7777", ROW)


@given(box=st.sampled_from(["data_key", "value"]), at=st.integers(min_value=0), bit=st.integers(0, 7))
def test_a_box_with_any_bit_flipped_does_not_open(box, at, bit):
    content = bytearray(getattr(SEALED, box))
    content[at % len(content)] ^= 1 << bit
    with pytest.raises(DoesNotOpen):
        MASTER.open(SEALED._replace(**{box: bytes(content)}), "7777", ROW)


@pytest.mark.parametrize("box", ["data_key", "value"])
def test_a_box_of_any_other_length_does_not_open(box):
    content = getattr(SEALED, box)
    others = [content[:length] for length in range(len(content))] + [content + b"\0", b"\0" + content]
    for other in others:
        with pytest.raises(DoesNotOpen):
            MASTER.open(SEALED._replace(**{box: other}), "7777", ROW)


def test_a_data_key_opens_only_the_value_that_it_sealed():
    again = MASTER.seal(Secret(KEY), ROW)
    for mixed in (
        SEALED._replace(data_key=again.data_key),
        SEALED._replace(value=again.value),
        SEALED._replace(data_key=SEALED.value, value=SEALED.data_key),
        SEALED._replace(value=SEALED.data_key),
    ):
        with pytest.raises(DoesNotOpen):
            MASTER.open(mixed, "7777", ROW)


def test_what_the_first_release_sealed_still_opens():
    """The stored form is a promise: a change of it needs a new scheme."""
    sealed = Sealed(
        "aes256gcm-1",
        "mk-a0e4ab73d549",
        bytes.fromhex(
            "7fcaab86af49b5407bfa534f63a38809dd1536cddf23c961743a5faed7981ba55622b55bb38e0e0027300fcf2108e374ecc2dbf0cda5270ccc58f815"
        ),
        bytes.fromhex(
            "62ac3e5fcfc704c8b87b018d7c6968a772685a44682e040f401c845fc7a43dee6e25f639610ca154fb5b4e928b6620eb9f6edebe"
        ),
    )
    assert MASTER.id == sealed.master_key_id
    assert MASTER.open(sealed, "7777", ROW).reveal() == KEY


# --- what can be told from outside -----------------------------------------------------------------


def test_sealing_the_same_key_twice_gives_nothing_in_common():
    again = MASTER.seal(Secret(KEY), ROW)
    assert again.value != SEALED.value
    assert again.data_key[:12] != SEALED.data_key[:12]
    assert again.value[:12] not in {SEALED.value[:12], again.data_key[:12]}


def test_nothing_of_the_key_stands_in_what_is_stored():
    assert b"planted" not in SEALED.value + SEALED.data_key
    assert "planted" not in repr(SEALED)


@pytest.mark.parametrize("length", [0, 16, 31, 33, 64])
def test_a_master_key_has_32_bytes(length):
    with pytest.raises(ValueError, match=str(KEY_BYTES)):
        MasterKey(bytes(length))


@pytest.mark.parametrize("copied", [pickle.dumps, copy.copy, copy.deepcopy, vars])
def test_a_master_key_is_not_copied(copied):
    with pytest.raises(TypeError):
        copied(MASTER)


def test_a_master_key_shows_only_its_id_which_is_not_a_part_of_it():
    assert repr(MASTER) == f"MasterKey({MASTER.id})"
    assert MASTER.id.removeprefix("mk-") not in RAW.hex()


def test_a_box_that_does_not_open_leaves_no_data_key_in_the_traceback():
    with pytest.raises(DoesNotOpen) as problem:
        MASTER.open(SEALED._replace(value=SEALED.value[:-1]), "7777", ROW)
    trace = traceback.TracebackException.from_exception(problem.value, capture_locals=True)
    names = {name for frame in trace.stack for name in frame.locals or {}}
    assert "data_key" not in names
    assert problem.value.__cause__ is None
