"""What notification knows without a log, a database or a network: sentences, signatures, addresses."""
