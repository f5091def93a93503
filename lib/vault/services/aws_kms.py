"""AWS KMS, through boto3, which finds credentials and region as it does everywhere.

The id of the master key is the encryption context: it stands in AWS' own log of each use, and policies may name it.
"""

from __future__ import annotations

import base64
import logging
import re
from http import HTTPStatus
from typing import Any

from lib.errors import KeyServiceFailed
from lib.secret import without_variables
from lib.vault.master_keys.wrapped import ServiceKey, Wrapped
from lib.vault.sealing import MasterKey
from lib.vault.services.packages import load

_SECONDS = 5
_REGION = re.compile(r"arn:[\w-]+:kms:([\w-]+):")
_LOGS_OF_BODIES = ("botocore.endpoint", "botocore.parsers")
_PASSING = {"ThrottlingException", "LimitExceededException", "ExpiredTokenException", "RequestExpired"}


class AwsKms:
    """Wraps by ``awskms:ARN``, or an id or an alias in the region of the environment."""

    @without_variables
    def wrap(self, key: ServiceKey, raw: bytes, master_key_id: str) -> str:
        """The ciphertext of a master key. Raises KeyServiceFailed."""
        found = self._ask("encrypt", key, master_key_id, Plaintext=raw)
        return base64.b64encode(found["CiphertextBlob"]).decode()

    @without_variables
    def unwrap(self, wrapped: Wrapped) -> MasterKey:
        """The master key that a ciphertext holds. Raises KeyServiceFailed."""
        blob = base64.b64decode(wrapped.ciphertext)
        return MasterKey(self._ask("decrypt", wrapped.by, wrapped.id, CiphertextBlob=blob)["Plaintext"])

    def _ask(self, what: str, key: ServiceKey, master_key_id: str, **words: bytes) -> dict[str, bytes]:
        boto3, exceptions = load("boto3", "aws"), load("botocore.exceptions", "aws")
        _keep_keys_out_of_logs()
        context, is_refusal = {"qodex-master-key": master_key_id}, False
        try:
            ask = getattr(_client(boto3, key), what)
            found: dict[str, bytes] = ask(KeyId=key.name, EncryptionContext=context, **words)
            return found
        except exceptions.ClientError as problem:
            kind = str(problem.response.get("Error", {}).get("Code", "error"))
            status = problem.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            is_refusal = status < HTTPStatus.INTERNAL_SERVER_ERROR and kind not in _PASSING
        except exceptions.BotoCoreError as problem:
            kind = type(problem).__name__
        # Out here: an error reporter would show the key in the frames of the client.
        why = f"{'refuses' if is_refusal else 'does not answer'} ({kind})"
        raise KeyServiceFailed(master_key_id, f"{key} {why}.", refused=is_refusal)


def _keep_keys_out_of_logs() -> None:
    """At the level of debugging the client writes down whole requests and answers. Doing it twice changes nothing."""
    for name in _LOGS_OF_BODIES:
        logging.getLogger(name).addFilter(_holds_no_key)


def _holds_no_key(record: logging.LogRecord) -> bool:
    return "Plaintext" not in record.getMessage()


def _client(boto3: Any, key: ServiceKey) -> Any:
    region = _REGION.match(key.name)
    config = load("botocore.config", "aws").Config(
        connect_timeout=_SECONDS, read_timeout=_SECONDS, retries={"total_max_attempts": 1}
    )
    return boto3.client("kms", region_name=region[1] if region else None, config=config)
