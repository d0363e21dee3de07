"""``python -m errata.shapes`` prints the table of shapes that docs/datasets.md holds."""

from __future__ import annotations

import sys

from errata.shapes import shapes_table

if __name__ == "__main__":
    sys.stdout.write(shapes_table())
