"""OpenAI's fine-tuning over Errata's own imports, training runs and models: files, jobs, events, checkpoints."""
