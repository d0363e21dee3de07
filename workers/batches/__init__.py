"""Batches at a provider: the answers that outlive a stage, and who looks whether batches have ended."""
