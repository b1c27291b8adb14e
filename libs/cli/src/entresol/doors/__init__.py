"""What talks to the two doors: the connection, and finding there what is meant."""
