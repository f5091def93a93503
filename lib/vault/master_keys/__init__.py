"""Master keys: where they come from, and their life."""
