"""Settings > Project: title, labels, archive, restore and delete."""
