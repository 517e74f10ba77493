"""Parts of compare.py: one module for each program compared, and what they share."""
