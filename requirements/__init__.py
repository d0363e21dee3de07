"""What the images install: locks, and the scripts that write them."""
