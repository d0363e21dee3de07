"""What goes into a downloaded lm-eval task as it is: the scorer, and the child it asks. Not imported by the service."""
