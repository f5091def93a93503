"""Reading files of usage rows that others wrote: what a file is, its cells, and what in it we do not read."""
