"""What every screen uses: the address, words, tables, notices and cached loaders."""
