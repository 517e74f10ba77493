"""Files: written in one step, read with checks."""
