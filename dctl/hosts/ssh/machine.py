"""One machine as the worker sees it: its connection, and why there is none.

Imported by the worker alone, after gevent has replaced the standard library's sockets and threads.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import gevent
from gevent.lock import BoundedSemaphore, RLock
from paramiko import (
    AuthenticationException,
    BadHostKeyException,
    PasswordRequiredException,
    SSHException,
)
from paramiko.ssh_exception import NoValidConnectionsError
from pyinfra.api.exceptions import ConnectError

from dctl.hosts.ssh.known import fingerprint

# Commands at once on one connection: sshd allows 10 sessions by default.
_SESSIONS = 6
# Of the time for a connection: for how long a machine may say nothing while it is waited for.
_SILENCE = 3


class RefusalError(Exception):
    """A failure of a known kind; more is said in words and fingerprints."""

    def __init__(self, kind: str, said: str = "", **more: str) -> None:
        super().__init__(said)
        self.kind, self.said, self.more = kind, said, more

    def to_json(self) -> dict[str, str]:
        return {"kind": self.kind, "said": self.said, **self.more}


class SilentError(BaseException):
    """A machine gives no sign of life. Not an Exception, for libraries catch those."""


class Machine:
    """One machine: its connection, made when it is first needed and again after it was cut."""

    def __init__(self, host: Any, connect_timeout: float) -> None:
        self.host = host
        self._patience = connect_timeout
        self._connecting = RLock()
        self.sessions = BoundedSemaphore(_SESSIONS)
        self.operating = BoundedSemaphore(1)  # pyinfra keeps the current operation on its host
        self._early: RefusalError | None = None
        self._heard = 0.0
        self._waiting: set[Any] = set()
        self._listening: Any = None

    def warm(self) -> None:
        """Connect before there is a job; why that failed is told to the first one."""
        try:
            self._transport()
        except RefusalError as refusal:
            self._early = refusal

    @property
    def sudo(self) -> bool:
        return str(self._transport().get_username()) != "root"

    @property
    def alive(self) -> bool:
        """Whether there is a connection."""
        client = self.host.connector.client
        transport = client.get_transport() if client else None
        return transport is not None and bool(transport.is_active())

    def session(self) -> Any:
        """A channel for one command."""
        return self._transport().open_session(timeout=self._patience)

    @contextmanager
    def heard(self) -> Iterator[None]:
        """While something of the machine is waited for: SilentError once it gives no sign of life.
        A step may take long; a machine that is frozen is not waited for as long."""
        waiting = gevent.getcurrent()
        self._waiting.add(waiting)
        if not self._listening:  # a greenlet that has ended is false
            self.hear()
            self._listening = gevent.spawn(self._listen)
        try:
            yield
        finally:
            self._waiting.discard(waiting)

    def hear(self) -> None:
        """A sign of life."""
        self._heard = time.monotonic()

    def _listen(self) -> None:
        silence = _SILENCE * self._patience
        while self._waiting:
            with gevent.Timeout(silence, False), suppress(SSHException, EOFError, OSError):
                if self.alive:
                    transport = self.host.connector.client.get_transport()
                    transport.global_request("keepalive", wait=True)  # whatever it answers
                self.hear()  # else it is being connected to, which has a time limit of its own
            if time.monotonic() - self._heard >= silence:
                silent = SilentError(f"no sign of life for {silence:g}s")
                for waiting in list(self._waiting):
                    gevent.kill(waiting, silent)
                return
            gevent.sleep(self._patience / 2)

    def cut(self) -> None:
        """Let go of a connection that does not answer."""
        client = self.host.connector.client
        if client is not None:
            self.host.connector.disconnect()
            client.close()
        self.host.connected = False

    def _transport(self) -> Any:
        with self._connecting:
            early, self._early = self._early, None
            if early is not None:
                raise early
            if not self.alive:
                self.host.connected = False
                self._connect()
                transport = self.host.connector.client.get_transport()
                # Each command is a few small packets: 54 -> 7 to 18 ms.
                if isinstance(transport.sock, socket.socket):
                    transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                transport.set_keepalive(5)
            return self.host.connector.client.get_transport()

    def _connect(self) -> None:
        try:
            with gevent.Timeout(3 * self._patience, TimeoutError("no connection")):
                self.host.connect(show_errors=False, raise_exceptions=True)
        except ConnectError as error:
            self.cut()
            raise refusal_of(error) from error
        except TimeoutError as error:
            self.cut()
            raise RefusalError("timeout", "it takes connections, and says nothing") from error
        self.host.state.activate_host(self.host)


def refusal_of(error: BaseException) -> RefusalError:
    """Why there is no connection, from the errors under the one that pyinfra made of them."""
    chain: list[BaseException] = []
    step: BaseException | None = error
    while step is not None and step not in chain:
        chain.append(step)
        step = step.__cause__ or step.__context__
    for found in chain:
        if isinstance(found, BadHostKeyException):
            return RefusalError(
                "changed-key",
                known=fingerprint(found.expected_key.get_base64()),
                shown=fingerprint(found.key.get_base64()),
            )
        if isinstance(found, PasswordRequiredException):
            return RefusalError("denied", "the key is encrypted")
        if isinstance(found, AuthenticationException):
            return RefusalError("denied")
        if isinstance(found, socket.gaierror):
            return RefusalError("name")
        if isinstance(found, TimeoutError):
            return RefusalError("timeout", "no connection")
        if isinstance(found, NoValidConnectionsError | ConnectionRefusedError):
            return RefusalError("refused", "nothing listens there")
    words = " ".join(str(found) for found in chain)
    if "No host key for" in words:
        return RefusalError("unknown-key")
    if "banner" in words or "imeout" in words or "timed out" in words:
        return RefusalError("timeout", "it takes the connection, and says nothing")
    if "No authentication methods" in words:
        return RefusalError("denied")
    said = str(chain[-1]) or type(chain[-1]).__name__
    return RefusalError("refused", said)
