"""What pages and exports ask: sums over roll-ups, exact at the edges of a period."""
