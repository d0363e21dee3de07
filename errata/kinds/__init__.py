"""Error kinds: a registry of (name, instruction, applies-when, rule-made twin), per domain."""
