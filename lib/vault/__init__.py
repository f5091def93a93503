"""Sealing of provider keys, master keys, and the life of a key: save, replace, remove, resolve."""
