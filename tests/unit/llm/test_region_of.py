"""Which hosts are in a region, and which are not."""

from __future__ import annotations

import pytest

from lib.llm.openai.endpoints import region_of


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("api.openai.com", ""),
        ("eu.api.openai.com", "eu"),
        ("US.api.OpenAI.com.", "us"),
        ("ae.api.openai.com", "ae"),
        ("somewhere-new.api.openai.com", "somewhere-new"),
        ("eu-api.openai.com", ""),
        ("eu.api.openai.com.example.com", ""),
        ("127.0.0.1", ""),
    ],
)
def test_every_host_below_the_global_one_is_a_region(host, region):
    assert region_of(host) == region
