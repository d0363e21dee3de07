"""Completions for people who wait: taken from their table by generation workers, and written back piece by piece."""
