"""The soak in short, where ``QODEX_SOAK`` asks for it; ``make soak`` runs it for minutes.

It is no part of ``make test``: it kills at random, and its last findings are not mended yet.
"""

from __future__ import annotations

import os

import pytest

from tests.soak import faults, soak


@pytest.mark.skipif(os.environ.get("QODEX_SOAK") != "1", reason="run by make soak, or with QODEX_SOAK=1")
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_whatever_happens_to_workers_and_their_database_the_books_agree(kind):
    assert faults(soak(kind, 15)) == []
