"""What notification knows without a log, a database or a network: sentences, signatures, addresses."""

SYSTEM = "system:notification"
"""Who is behind what this service says."""
