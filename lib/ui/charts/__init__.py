"""Charts: their colours, their drawings and the columns they are drawn from."""
