"""The supervisor waits when there is nothing to do."""

from __future__ import annotations

import os

from dctl.hosts.process.poller import Poller


def test_a_number_that_became_a_pipe_which_nobody_reads_is_asked_about_once() -> None:
    poller = Poller(options=None)
    gone, kept = os.pipe(), os.pipe()
    try:
        poller.register_readable(gone[0])  # supervisor never takes it back
        os.dup2(gone[1], gone[0])
        os.close(gone[1])
        poller.register_readable(kept[0])
        os.write(kept[1], b"x")
        assert poller.poll(10) == ([kept[0]], [])
        os.read(kept[0], 1)
        assert poller._poller.poll(0) == []
    finally:
        for fd in (gone[0], *kept):
            os.close(fd)
