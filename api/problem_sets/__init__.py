"""Problem sets: problems and brought solutions, from request to rows."""
