"""Training jobs: started, previewed, watched and ended."""
