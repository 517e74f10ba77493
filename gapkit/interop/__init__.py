"""Other programs that gapkit works with; each needs an optional extra."""
