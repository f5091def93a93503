"""The words of the screen."""

from __future__ import annotations

KINDS = {
    "slack": ("Slack", "An incoming webhook; Mattermost and Rocket.Chat take the same."),
    "email": ("E-mail", "Anybody, besides those who get mail by their role."),
    "chat": ("Another chat", "Teams, Discord, Google Chat, Telegram, Webex, ntfy, PagerDuty, Opsgenie."),
    "webhook": ("Webhook", "JSON to a program of yours, signed, with retries."),
}
FROM = {"info": "Everything", "warning": "Warnings and critical", "critical": "Critical only"}
SEVERITIES = {"info": "Info", "warning": "Warning", "critical": "Critical"}
COLORS = {"Info": "gray", "Warning": "orange", "Critical": "red"}


def kind_title(kind: str) -> str:
    """What a kind of channel is called."""
    return KINDS[kind][0] if kind in KINDS else kind
