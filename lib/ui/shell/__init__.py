"""What stands around every page: sign-in, guards, start, navigation and failures."""
