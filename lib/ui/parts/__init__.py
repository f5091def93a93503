"""Parts that several screens show: cards and the card of spend."""
