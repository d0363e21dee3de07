"""Frozen datasets, the pure part: configuration, row shapes with their Parquet schemas, and the dataset card."""
