"""Gates: what a frozen dataset is checked for, each check with a figure and the rows that it found (docs/method.md).

Pure functions. ``workers/stages/gates.py`` feeds them from the database and the judge.
"""
