"""The ways that an alert can go: mail, Slack, the other chats through apprise, and signed webhooks."""
