"""Preference files of others as rows that Errata trains on: recognised, checked row by row, paired, written anew."""
