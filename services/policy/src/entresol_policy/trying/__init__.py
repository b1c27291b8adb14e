"""Try policies out: cases that need no platform, and past requests held against a draft.

Both use what the service itself runs. Nothing of it is part of the service.
"""
