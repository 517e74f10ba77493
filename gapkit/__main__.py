"""`python -m gapkit` is the command `gapkit`."""

from gapkit.cli import main

if __name__ == "__main__":
    main()
