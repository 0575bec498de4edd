"""Machines that are nothing but a network: each a namespace with one interface, all on one switch
that is in a namespace, too, so nothing of it is seen outside. Links between them can be cut.

A cut is made in the table of neighbours: what one machine sends to the other goes to an address of
Ethernet that nobody has, as into a cable that is out. Nobody is refused, nothing is reset, what was
sent is sent again by TCP and arrives once the link is whole; and one direction can be cut alone. A
relay before each part would not do: nodes of NATS tell each other and their clients where the
others are, who then go round it. It takes root, and the command `ip`.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import functools
import os
import shutil
import socket
import subprocess
import threading
import uuid
from collections.abc import Callable, Collection, Iterator, Sequence

_NEWNET = 0x40000000
_NOBODY = "02:ff:ff:ff:ff:ff"
_SWITCH = "switch"


class Links:
    """`machines`, each of which reaches all others at `address`."""

    def __init__(self, machines: Sequence[str]) -> None:
        self.machines = list(machines)
        self._run = uuid.uuid4().hex[:8]
        self._made: list[str] = []
        self._cut: set[tuple[str, str]] = set()

    def address(self, machine: str) -> str:
        """Its IP address."""
        return f"10.99.0.{self._number(machine)}"

    def inside(self, machine: str, *command: str) -> list[str]:
        """The command that runs `command` there."""
        # Not `ip netns exec`: that has mounts of its own, which outlive an umount here.
        return ["nsenter", f"--net={self._path(machine)}", *command]

    def open(self) -> None:
        """Make them."""
        for each in (_SWITCH, *self.machines):
            _ip("netns", "add", self._name(each))
            self._made.append(each)
        self._inside(_SWITCH, "link add bridge type bridge", "link set bridge up")
        for machine in self.machines:
            self._plug(machine)
        for machine in self.machines:
            for other in self._others(machine):
                self._send(machine, other, self._ethernet(other))

    def close(self) -> None:
        """Take all of it away."""
        while self._made:
            _ip("netns", "delete", self._name(self._made.pop()))

    def cut(self, cables: Collection[tuple[str, str]]) -> None:
        """From now on nothing arrives of what the first of each pair sends to the second."""
        for source, target in cables:
            self._send(source, target, _NOBODY)
            self._cut.add((source, target))

    def heal(self) -> None:
        """All links are whole again."""
        while self._cut:
            source, target = self._cut.pop()
            self._send(source, target, self._ethernet(target))

    def around(self, machine: str, among: Collection[str] = ()) -> list[tuple[str, str]]:
        """What cuts it off from all others, or all of those `among`."""
        others = [each for each in self._others(machine) if not among or each in among]
        return [pair for other in others for pair in both(machine, other)]

    def _others(self, machine: str) -> list[str]:
        return [each for each in self.machines if each != machine]

    def _plug(self, machine: str) -> None:
        number = self._number(machine)
        cable = f"link add port{number} type veth peer name eth0 netns {self._name(machine)}"
        port = (f"link set port{number} master bridge", f"link set port{number} up")
        self._inside(_SWITCH, cable, *port)
        self._inside(
            machine,
            "link set lo up",
            f"link set eth0 address {self._ethernet(machine)}",
            f"address add {self.address(machine)}/24 dev eth0",
            "link set eth0 up",
        )

    def _send(self, source: str, target: str, ethernet: str) -> None:
        there = f"neighbour replace {self.address(target)} lladdr {ethernet} dev eth0 nud permanent"
        self._inside(source, there)

    def _inside(self, machine: str, *lines: str) -> None:
        _ip("-netns", self._name(machine), "-batch", "-", text="\n".join(lines))

    def _name(self, machine: str) -> str:
        return f"draft-{self._run}-{machine}"

    def _path(self, machine: str) -> str:
        return f"/run/netns/{self._name(machine)}"

    def _number(self, machine: str) -> int:
        return 1 + self.machines.index(machine)

    def _ethernet(self, machine: str) -> str:
        return f"02:00:00:00:00:{self._number(machine):02x}"

    @contextlib.contextmanager
    def doors(self, machine: str, targets: Sequence[str]) -> Iterator[list[str]]:
        """Addresses on this side; who connects to one comes from that machine, and to the target
        in the same place."""
        loop = asyncio.new_event_loop()
        listening = [socket.create_server(("127.0.0.1", 0)) for _ in targets]
        ready, failed = threading.Event(), list[OSError]()

        async def serve() -> None:
            for each, target in zip(listening, targets, strict=True):
                await asyncio.start_server(_passing(target), sock=each)

        def run() -> None:
            try:
                _enter(self._path(machine))
                loop.run_until_complete(serve())
            except OSError as error:
                failed.append(error)
            ready.set()
            if not failed:
                loop.run_forever()

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        ready.wait()
        try:
            if failed:
                raise failed[0]
            yield [f"127.0.0.1:{each.getsockname()[1]}" for each in listening]
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join(10)
            for each in listening:
                each.close()


def both(one: str, other: str) -> list[tuple[str, str]]:
    """Both directions of a link."""
    return [(one, other), (other, one)]


@functools.cache
def no_links() -> str:
    """Why there can be none here; "" if there can."""
    if os.geteuid() or not (shutil.which("ip") and shutil.which("nsenter")):
        return "links are cut between network namespaces: that takes root, and ip and nsenter"
    try:
        with linked(["probe"]):
            return ""
    except subprocess.CalledProcessError as error:
        return f"network namespaces cannot be made here: {error.stderr.strip()}"


@contextlib.contextmanager
def linked(machines: Sequence[str]) -> Iterator[Links]:
    """Links that are whole, taken away whatever happens."""
    links = Links(machines)
    try:
        links.open()
        yield links
    finally:
        links.close()


def _passing(target: str) -> Callable[..., object]:
    host, _, port = target.rpartition(":")

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, to = await asyncio.open_connection(host, int(port))
        except OSError:
            writer.transport.abort()
            return
        await asyncio.gather(_pump(reader, to), _pump(there, writer))

    return connected


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass  # the other end went away: both end this direction
    finally:
        writer.transport.abort()


def _enter(namespace: str) -> None:
    """Have this thread in a namespace of the network: what it connects to is seen from there."""
    with open(namespace) as file:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(file.fileno(), _NEWNET):
            raise OSError(ctypes.get_errno(), f"setns {namespace}")


def _ip(*arguments: str, text: str = "") -> None:
    subprocess.run(["ip", *arguments], input=text, capture_output=True, text=True, check=True)
