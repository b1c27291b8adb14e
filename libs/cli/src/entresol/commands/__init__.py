"""The commands, by what they are about. Each module's functions are registered in `entresol.commandline`."""
