"""Journeys that a user would recognise, through the doors of a whole platform in a process of its own."""
