"""Ways out of a jail, each a small function that is run inside one."""
