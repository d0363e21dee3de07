"""The plumbing of HTTP that every resource uses: who asks, what is refused and how, rows, files and events."""
