"""What arrives by the log: `project` takes every event, many at a time, and keeps the picture true."""
