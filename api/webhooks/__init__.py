"""``/v1/webhooks``: who is told of what happens, and what became of every message."""
