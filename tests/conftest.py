"""What all tests share."""

import os
import signal

os.environ.setdefault("MPLBACKEND", "Agg")
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as in the background of a shell; tests of interrupts need it
    signal.signal(signal.SIGINT, signal.default_int_handler)
