"""The store: SQLAlchemy tables, states and sessions. "Model" here never means weights; those are language models."""
