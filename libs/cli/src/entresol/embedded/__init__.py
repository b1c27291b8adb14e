"""The platform in one process, and the directory that it lives in."""
