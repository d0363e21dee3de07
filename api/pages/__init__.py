"""The dashboard: server-rendered pages over the same rows as ``/v1``. Reads only, never writes rows."""
