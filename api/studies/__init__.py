"""Studies and campaigns: jobs that start other jobs, look at their rows, and go on until their result is there."""
