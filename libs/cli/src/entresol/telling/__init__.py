"""What people are told of what the doors know: in a line, a table, a tree, or as it happens."""
