"""What provisioning knows without touching anything: graphs of steps, the life of a request, the life of a resource."""
