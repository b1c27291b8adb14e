"""What is deployed fits the code; nothing here needs a container engine or a cluster."""
