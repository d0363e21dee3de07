"""Files people bring: rows out of JSON lines, JSON, CSV and Parquet, and what the fields of known formats mean."""
