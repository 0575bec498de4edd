"""What holds for all tests."""

from __future__ import annotations

import signal

# Where the tests run in the background, Ctrl-C is ignored, and so it would be by what they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
