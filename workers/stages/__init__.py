"""The stages: short plain functions between two transactions. See workers.stages.base for their contract."""
