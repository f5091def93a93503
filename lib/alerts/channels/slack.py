"""Slack's incoming webhooks, and what takes the same JSON (Mattermost, Rocket.Chat)."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from lib.alerts.channels.answer import Answer
from lib.alerts.channels.http import Poster
from lib.alerts.messages import Message
from lib.secret import Secret

_LONGEST_HEADER, _LONGEST_TEXT = 150, 2_900
_DEAD = {403, 404}
"""Slack's answers for an address that is gone for good: ``invalid_token``, ``no_service``, a removed channel."""


def payload_of(message: Message) -> dict[str, Any]:
    """The JSON that is posted: blocks, and a text for notifications and for who knows no blocks."""
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": {"type": "plain_text", "text": message.title[:_LONGEST_HEADER]}},
        {"type": "section", "text": {"type": "mrkdwn", "text": _escaped(message.text)[:_LONGEST_TEXT]}},
    ]
    if message.facts:
        fields = [
            {"type": "mrkdwn", "text": f"*{_escaped(name)}*\n{_escaped(value)}"}
            for name, value in message.facts
        ]
        blocks.append({"type": "section", "fields": fields})
    button = {
        "type": "button",
        "text": {"type": "plain_text", "text": message.link_title},
        "url": message.link,
    }
    blocks.append({"type": "actions", "elements": [button]})
    return {"text": _escaped(f"{message.title}. {message.link}"), "blocks": blocks}


def send(poster: Poster, url: Secret, message: Message) -> Answer:
    """Post one message."""
    body = json.dumps(payload_of(message), ensure_ascii=False)
    posted = poster.post(url.reveal(), body, {"content-type": "application/json"})
    if posted.status in _DEAD:
        return replace(posted.answer, gone=True)
    return posted.answer


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
