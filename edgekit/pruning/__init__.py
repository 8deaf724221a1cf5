"""Channels that must go together, which of them to remove, and how to make up for it."""
