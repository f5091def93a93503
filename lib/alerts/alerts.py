"""All of alerts in one place, for the front door."""

from __future__ import annotations

from lib.alerts.channel_list import ChannelList
from lib.alerts.delivery.sender import Sender
from lib.alerts.history import AlertHistory
from lib.alerts.preferences import PreferenceStore
from lib.db import Database
from lib.settings import Settings
from lib.vault.master_keys.masters import Keyring


class Alerts:
    """What is told to whom, what was told, and the sending itself.

    Attributes:
        preferences: thresholds, quiet hours, what is muted, who wants no mail.
        channels: where alerts go besides.
        history: what was told lately.
        sender: sends what is due.
        mails: whether mail can be sent at all.
    """

    def __init__(self, database: Database, keyring: Keyring, settings: Settings) -> None:
        self.preferences = PreferenceStore(database)
        self.channels = ChannelList(database, keyring, settings)
        self.sender = Sender(database, keyring, settings)
        self.history = AlertHistory(database, self.sender)
        self.mails = self.sender.mails
