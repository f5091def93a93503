"""The soak in short; ``make soak`` runs it for minutes."""

from __future__ import annotations

import pytest

from tests.soak import faults, soak
from tests.whole import whole_or


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_whatever_happens_to_workers_and_their_database_the_books_agree(kind):
    assert faults(soak(kind, whole_or(8, 15))) == []
