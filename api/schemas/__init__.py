"""Requests and answers of the API. Requests refuse unknown fields; answers are built from rows here and only here."""
