"""run(): a real process, real signals, its exit status and what it printed."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.waiting import wait_until

HEAD = """
import asyncio, contextlib, time
from chassis import Chassis
import chassis.app, chassis.lifecycle, chassis.process

def say(text): print(text, flush=True)
async def say_stop(): say("on_stop")

app = Chassis(config={"service": {"name": "shop"}, "draft": {"grace": 0.2, "drain": 0}})
"""


class Program:
    def __init__(self, folder: Path, process: subprocess.Popen[bytes]) -> None:
        self._folder = folder
        self.process = process

    @property
    def out(self) -> list[str]:
        return (self._folder / "out").read_text().splitlines()

    @property
    def log(self) -> str:
        return (self._folder / "err").read_text()

    def await_word(self, word: str) -> None:
        wait_until(lambda: word in self.out or self.process.poll() is not None, within=30)
        assert word in self.out, self.log

    def signal(self, number: signal.Signals = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def end(self) -> int:
        return self.process.wait(30)


@contextmanager
def program(folder: Path, body: str) -> Iterator[Program]:
    """The program, started with `python main.py` and gone afterwards."""
    main = folder / "main.py"
    main.write_text(HEAD + body)
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        process = subprocess.Popen([sys.executable, main], stdout=out, stderr=err)
    try:
        yield Program(folder, process)
    finally:
        process.kill()
        process.wait()


SERVES = """
@app.runner
async def tell(stop):
    say("serving")
    await stop.wait()
    say("stopped")
app.on_stop(say_stop)
app.run()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(number: signal.Signals, tmp_path: Path) -> None:
    with program(tmp_path, SERVES) as shop:
        shop.await_word("serving")
        shop.signal(number)
        assert shop.end() == 0
        assert shop.out == ["serving", "stopped", "on_stop"]
        assert "shop has ended" in shop.log


def test_a_second_signal_changes_nothing(tmp_path: Path) -> None:
    body = """
go_on = asyncio.Event()
@app.on_stop
async def slow():
    say("ending")
    asyncio.get_running_loop().call_later(0.5, go_on.set)
    await go_on.wait()
    say("ended")
@app.runner
async def tell(stop):
    say("serving")
app.run()
"""
    with program(tmp_path, body) as shop:
        shop.await_word("serving")
        shop.signal()
        shop.await_word("ending")
        shop.signal()
        shop.signal(signal.SIGINT)
        assert shop.end() == 0
        assert shop.out[-1] == "ended"
        assert "Traceback" not in shop.log


def test_a_signal_during_the_start_ends_it_too(tmp_path: Path) -> None:
    body = """
@app.on_start
async def forever():
    say("starting")
    try: await asyncio.Event().wait()
    finally: say("gave up")
app.on_stop(say_stop)
app.run()
"""
    with program(tmp_path, body) as shop:
        shop.await_word("starting")
        shop.signal()
        assert shop.end() == 0
        assert shop.out == ["starting", "gave up", "on_stop"]


def test_a_runner_that_fails_ends_the_process_with_1(tmp_path: Path) -> None:
    body = """
@app.runner
async def sweep(stop): raise ValueError("no more disk")
app.on_stop(say_stop)
app.run()
"""
    with program(tmp_path, body) as shop:
        assert shop.end() == 1
        assert shop.out == ["on_stop"]
        assert shop.log.splitlines()[-1] == "error: runner sweep failed: no more disk"


def test_a_start_that_fails_ends_the_process_with_1(tmp_path: Path) -> None:
    body = """
@app.on_start
async def broken(): raise ValueError("no database")
app.on_stop(say_stop)
app.run()
"""
    with program(tmp_path, body) as shop:
        assert shop.end() == 1
        assert shop.out == ["on_stop"]
        assert "shop failed" in shop.log
        assert "no database" in shop.log


def test_an_error_of_ours_is_one_line_without_a_trace(tmp_path: Path) -> None:
    body = "app.client(lambda channel: channel, 'other')\napp.run()\n"
    with program(tmp_path, body) as shop:
        assert shop.end() == 1
        assert shop.log.splitlines() == [
            "error: service.entrypoint is not set: nobody knows where Blueprint is"
        ]


@pytest.mark.parametrize(
    "hang",
    [
        "while True:\n        with contextlib.suppress(BaseException): await asyncio.sleep(1000)",
        "time.sleep(1000)",
        "await asyncio.to_thread(time.sleep, 1000)",
    ],
    ids=["cannot be cancelled", "blocks the loop", "blocks a thread"],
)
def test_whatever_hangs_at_the_end_the_process_ends(hang: str, tmp_path: Path) -> None:
    body = f"""
chassis.app._HOOK = chassis.app._SLACK = chassis.lifecycle.STOPPING = 0.1
chassis.process._SLACK = 0.5
@app.on_stop
async def hangs():
    say("hanging")
    {hang}
@app.runner
async def tell(stop): say("serving")
app.run()
"""
    with program(tmp_path, body) as shop:
        shop.await_word("serving")
        shop.signal()
        assert shop.end() == 1
        assert shop.out[-1] == "hanging"
        assert "something still hangs" in shop.log
