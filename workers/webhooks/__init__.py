"""Webhooks are sent from here: signed, to checked addresses, again after failures (models.webhooks has the rows)."""
