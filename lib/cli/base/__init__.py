"""What all commands share: the front door, what is typed, what is shown, where an export goes."""
