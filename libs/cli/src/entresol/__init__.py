"""The `entresol` command: a client of the two doors, and the whole platform in one process."""
