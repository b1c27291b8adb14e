"""What intake knows about requests, manifests and outside events; the standard library only."""
