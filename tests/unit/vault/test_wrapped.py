"""The text of a wrapped master key, as the variable and the file take it."""

from __future__ import annotations

import pytest

from lib.secret import Secret
from lib.vault.master_keys.wrapped import ServiceKey, service_key, wrapped_in

ID = "mk-0123456789ab"
ARN = "arn:aws:kms:eu-central-1:123456789012:key/27457265-1e9d-4d88-85e5-1f4bdccbdb59"
GOOD = {
    f"transit:qodex:{ID}:vault:v1:abc+/=": ("transit", "qodex", "vault:v1:abc+/="),
    f" transit:team/keys/qodex-1:{ID}:vault:v12:a\n": ("transit", "team/keys/qodex-1", "vault:v12:a"),
    f"awskms:{ARN}:{ID}:AQICAHh+/w==": ("awskms", ARN, "AQICAHh+/w=="),
    f"awskms:alias/qodex:{ID}:AQ==": ("awskms", "alias/qodex", "AQ=="),
}


@pytest.mark.parametrize("text", GOOD)
def test_a_wrapped_key_says_who_unwraps_it_and_is_written_as_it_was_read(text: str) -> None:
    found = wrapped_in(Secret(text))
    assert found
    assert (*found.by, found.ciphertext) == GOOD[text]
    assert found.id == ID
    assert found.text == text.strip()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "transit:qodex",
        f"transit:qodex:{ID}:abc",
        f"transit:../sys:{ID[:-1]}:vault:v1:a",
        f"transit:a b:{ID}:vault:v1:a",
        f"kms:x:{ID}:AQ==",
        f"awskms:{ARN}:{ID}:not base64",
        f"transit:/qodex:{ID}:vault:v1:a",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    ],
)
def test_other_text_is_none(text: str) -> None:
    assert wrapped_in(Secret(text)) is None


def test_what_wraps_is_named_by_service_and_key() -> None:
    assert service_key("transit:qodex") == ServiceKey("transit", "qodex")
    assert service_key(f"awskms:{ARN}").name == ARN
    for wrong in ("", "transit", "transit:", "vault:qodex", "transit:a/../b c", "awskms:"):
        with pytest.raises(ValueError, match="write it like"):
            service_key(wrong)
