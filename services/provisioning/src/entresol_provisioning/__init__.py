"""Provisioning: turns allowed requests into resources and keeps them for their whole life."""
