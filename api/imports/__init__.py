"""``POST /v1/datasets/import``: preference files of others as datasets."""
