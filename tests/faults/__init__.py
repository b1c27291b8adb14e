"""What the platform promises under faults, counted by a judge outside of it."""
