"""Every failure that a person can meet: one safe sentence, with its data, also from another process."""

from __future__ import annotations

import copy
import pickle
import re
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from multiprocessing import get_context

import pytest

from lib import errors
from lib.errors import QodexError

_WHEN = datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
_SENTENCE = "One sentence."
EXAMPLES = [
    errors.SignInRefused("Your e-mail address is not verified by your identity provider."),
    errors.SessionEnded("You signed out. Sign in again to go on."),
    QodexError(_SENTENCE),
    errors.SettingsError("QODEX_TIMEZONE", "not a known time zone."),
    errors.BadInput(_SENTENCE),
    errors.SdkUnsupported("openai", "2.54.0", "openai>=3.0,<4"),
    errors.ProjectUnknown("checkout-api"),
    errors.ProjectArchived("checkout-api"),
    errors.RunUnknown(),
    errors.SampleProject("checkout-api"),
    errors.Forbidden(_SENTENCE),
    errors.DatabaseUnavailable(_SENTENCE),
    errors.DatabaseUnavailable(_SENTENCE, cause="busy"),
    errors.DatabaseConflict(_SENTENCE),
    errors.KeyMalformed(_SENTENCE),
    errors.KeyRejected(status=401, code="invalid_api_key", message="Incorrect API key.", request_id="req_1"),
    errors.KeyUnusable(
        code="insufficient_quota", message="OpenAI says: no quota.", request_id="req_1", last4="7777"
    ),
    errors.KeyUnchecked("OpenAI did not answer.", status=503, request_id="req_1"),
    errors.KeyChanged(_SENTENCE),
    errors.TooManyChecks(_SENTENCE, _WHEN),
    errors.KeyMissing("checkout-api"),
    errors.KeyLocked("7777", "mk-0123456789ab"),
    errors.KeyLocked("7777", "mk-0123456789ab", tampered=True),
    errors.MasterKeyMissing(_SENTENCE),
    errors.UsageArchived(_WHEN),
    errors.KeyServiceFailed("mk-0123456789ab", "transit:qodex is sealed."),
    errors.MasterKeyInUse(_SENTENCE),
    errors.CapExceeded(_SENTENCE, window="5h", returns_at=_WHEN),
    errors.RunWaiting(_SENTENCE, run_id="r-1", resumes_at=_WHEN),
    errors.BudgetExceeded(budget=200_000, used=200_001),
    errors.AddressLocked(_SENTENCE),
    errors.RunEnded(_SENTENCE),
    errors.NotMetered(_SENTENCE),
    errors.PriceUnknown("gpt-9"),
    errors.LeaseLost(_SENTENCE),
    errors.ImportRejected(_SENTENCE, [(2, "negative tokens")]),
]
each_error = pytest.mark.parametrize(
    "error", EXAMPLES, ids=[f"{number}-{type(error).__name__}" for number, error in enumerate(EXAMPLES)]
)


def test_there_is_an_example_of_every_error():
    named = {
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, QodexError)
    }
    assert named == {type(error) for error in EXAMPLES}


@each_error
def test_its_text_is_one_paragraph_that_ends_like_a_sentence(error):
    assert str(error) == error.sentence
    assert re.fullmatch(r"\S[^\n]*[.]", str(error))


@each_error
@pytest.mark.parametrize(
    "carried",
    [lambda error: pickle.loads(pickle.dumps(error)), copy.copy, copy.deepcopy],
    ids=["pickle", "copy", "deep"],
)
def test_it_arrives_whole(error, carried):
    arrived = carried(error)
    assert type(arrived) is type(error)
    assert str(arrived) == str(error)
    assert vars(arrived) == vars(error)
    assert arrived.args == error.args


def _fail(number: int) -> None:
    raise EXAMPLES[number]


def test_workers_of_a_process_pool_raise_it_as_it_is():
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        arrived = [pool.submit(_fail, number).exception() for number in range(len(EXAMPLES))]
    assert [(type(error), vars(error)) for error in arrived] == [
        (type(error), vars(error)) for error in EXAMPLES
    ]


@each_error
def test_it_may_be_raised_again_with_a_cause(error):
    with pytest.raises(type(error)) as raised:
        raise copy.copy(error) from ValueError("inner")
    assert str(raised.value) == error.sentence


def test_a_missing_key_has_a_sentence_for_the_lead_and_one_for_the_operator():
    missing = errors.KeyMissing("checkout-api")
    assert "Settings > Integrations" in str(missing)
    assert "QODEX_OPENAI_API_KEY" in missing.for_operator
    assert "OPENAI_API_KEY" not in str(missing)
