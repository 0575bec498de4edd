"""What the machine listens on, and how that feels. Runs on the machine."""

from __future__ import annotations

import os
import re
import subprocess

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PORTS = (20000, 31999)  # below what systems give to outgoing connections


def port_owner(at: Any, asked: Any) -> Any:
    if can_listen(asked["host"], asked["port"]):
        return None
    done = subprocess.run(
        ["ss", "-Hltnp", "sport = :{}".format(asked["port"])], stdout=subprocess.PIPE, text=True
    )
    found = re.search(r'\("([^"]+)",pid=(\d+)', done.stdout)
    return [int(found[2]), found[1]] if found else [0, "a process that cannot be seen"]


def free_port(at: Any, asked: Any) -> Any:
    import random

    for _ in range(200):
        port = random.randint(*_PORTS)
        if can_listen(asked["host"], port):
            return port
    return 0


def can_listen(host: Any, port: Any) -> Any:
    import socket

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError as error:
            return error.errno != 98
    return True


def probe(at: Any, asked: Any) -> Any:
    """Why it is not well; "" when it is."""
    timeout = asked["seconds"]
    if asked["type"] == "tcp":
        import socket

        host, _, port = asked["target"].rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout).close()
        except TimeoutError:
            return "{} did not answer within {:g}s".format(asked["target"], timeout)
        except OSError as error:
            if isinstance(error, ConnectionRefusedError):
                return "{} refused the connection".format(asked["target"])
            return "{}: {}".format(asked["target"], error.strerror or error)
        return ""
    command = " ".join(asked["argv"])
    options = {} if os.geteuid() else {"user": at["user"], "group": at["user"], "extra_groups": []}
    try:
        done = subprocess.run(
            asked["argv"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace", timeout=timeout, **options,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"{command} did not end within {timeout:g}s"
    except (OSError, KeyError) as error:
        return f"{command} cannot be run: {error}"
    lines = done.stdout.strip().splitlines()
    last = ": " + lines[-1] if lines else ""
    return f"{command} ended with exit status {done.returncode}{last}" if done.returncode else ""
