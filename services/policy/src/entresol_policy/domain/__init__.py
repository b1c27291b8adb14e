"""What policy knows without a log or a database: how requests are judged, and which answers count."""
