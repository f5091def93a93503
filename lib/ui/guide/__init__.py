"""Help > Guide: the pages of ``docs/``, and their search."""
