"""What holds for all tests."""

from __future__ import annotations

import signal

# A shell's background jobs ignore the interrupt, and so would all that the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
