"""Celery app, stages, engines, dispatch, sweeper; and the trainer. A message is a hint; the row is the job."""
