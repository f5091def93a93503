"""What a usage event is, its roll-ups, and the periods over which it is summed."""
