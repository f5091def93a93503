"""Settings > Integrations: the key's card, its dialogs and the test call."""
