"""Parts of trust.py: what is left out, the methods, what is measured of them, and where it is kept and shown."""
