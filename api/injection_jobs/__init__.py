"""Injection jobs, and what their stages wrote."""
