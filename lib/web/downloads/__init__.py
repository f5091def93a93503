"""Downloads of exports: signed links, jobs, slots and files."""
