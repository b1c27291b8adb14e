"""Notification: tells people and tools what happened, by the channels they chose."""
