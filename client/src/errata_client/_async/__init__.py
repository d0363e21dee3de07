"""The client for asyncio, and the source of the other: ``python client/tools/generate.py`` writes that from it."""
