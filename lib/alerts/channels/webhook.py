"""Webhooks signed as Standard Webhooks 1.0 asks: the same id over all retries, and a signature over time and body."""

from __future__ import annotations

import base64
import json
import os
from datetime import UTC, datetime
from typing import Any

from standardwebhooks import Webhook

from lib.alerts.channels.answer import Answer
from lib.alerts.channels.http import Poster
from lib.alerts.messages import Message
from lib.clock import iso
from lib.secret import Secret

_SECRET_BYTES = 32


def new_secret() -> Secret:
    """What the receiver checks signatures with, as it must be told: ``whsec_…``."""
    return Secret(f"whsec_{base64.b64encode(os.urandom(_SECRET_BYTES)).decode()}")


def body_of(message: Message) -> str:
    """The JSON that is posted."""
    told: dict[str, Any] = {
        "type": message.kind,
        "timestamp": iso(message.at),
        "data": {
            **message.data,
            "severity": message.severity,
            "title": message.title,
            "text": message.text,
            "link": message.link,
        },
    }
    return json.dumps(told, ensure_ascii=False)


def headers_of(message: Message, body: str, secret: Secret, at: datetime) -> dict[str, str]:
    """The headers that sign the body."""
    return {
        "content-type": "application/json",
        "webhook-id": message.message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret.reveal()).sign(message.message_id, at, body),
    }


def send(poster: Poster, url: Secret, secret: Secret, message: Message) -> Answer:
    """Post one message; signed with the time of this attempt."""
    body = body_of(message)
    return poster.post(url.reveal(), body, headers_of(message, body, secret, datetime.now(tz=UTC))).answer
