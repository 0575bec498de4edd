"""Questions to the agent on one machine."""

from __future__ import annotations

import functools
import json
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dctl.errors import DctlError
from dctl.hosts.ssh import Fleet
from dctl.hosts.systemd.layout import Layout

# The program comes first through standard input: sudo writes command lines to the machine's log.
# Read without a buffer, so that what follows is left for the program.
_START = (
    "import os, sys; n = int(sys.argv[1]); b = b''\n"
    "while len(b) < n: b += os.read(0, n - len(b)) or sys.exit('cut off')\n"
    "exec(b)"
)

_PARTS = ("there/files.py", "there/lock.py", "there/ports.py", "agent.py")


@functools.cache
def agent_program() -> str:
    """The agent with its parts as one text: each becomes the module that the others import."""
    here = Path(__file__).parent
    package = __name__.rpartition(".")[0]
    parts = {
        f"{package}.{part[: -len('.py')].replace('/', '.')}": (here / part).read_text("utf-8")
        for part in _PARTS
    }
    return f"""\
import sys, types
for name, text in {parts!r}.items():
    module = sys.modules[name] = types.ModuleType(name)
    exec(compile(text, name, "exec"), vars(module))
module.main(*sys.argv[2:])
"""


@functools.cache
def _beside_program() -> str:
    return Path(__file__).with_name("beside.py").read_text("utf-8")


class Agent:
    """The agent for one cluster on one machine of a fleet."""

    def __init__(self, fleet: Fleet, host: str, layout: Layout) -> None:
        self.fleet, self.host, self.layout = fleet, host, layout

    def ask(
        self,
        verb: str,
        given: Mapping[str, Any] | None = None,
        *,
        timeout: float = 30.0,
        what: str = "",
    ) -> Any:
        """One round trip. What is given goes through standard input."""
        answer = self.fleet.run(
            self.host,
            shlex.join(self._line(verb)),
            stdin=agent_program() + json.dumps(dict(given or {})),
            timeout=timeout,
            what=what or verb.replace("_", " "),
        )
        if answer.code:
            raise DctlError(
                f"{what or verb.replace('_', ' ')} on {self.host}: {answer.words}",
                hint="python3 (3.9 or newer) and systemd are needed there"
                if "not found" in answer.words
                else "",
            )
        return json.loads(answer.out)

    def talk(self, verb: str, **given: Any) -> subprocess.Popen[str]:
        """A verb that goes on to talk through standard input and output."""
        line = [*self._line(verb), json.dumps(given)]
        child = subprocess.Popen(
            self.fleet.tunnel(self.host).command(self.sudo + shlex.join(line), terminal=False),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C: dctl still has to write down how far it came
        )
        assert child.stdin is not None
        try:
            child.stdin.write(agent_program())
            child.stdin.flush()
        except OSError:
            pass  # it has ended, and says why
        return child

    def beside(self, instance: str, argv: Sequence[str], *, terminal: bool) -> list[str]:
        """The command line that runs a command beside an instance."""
        at = self.layout
        line = ["python3", "-c", _beside_program()]
        line += [at.asked(instance), at.user, at.data(instance), *argv]
        command = self.sudo + shlex.join(line)
        return self.fleet.tunnel(self.host).command(command, terminal=terminal)

    @property
    def sudo(self) -> str:
        return "" if self.fleet.way(self.host).user == "root" else "sudo -n -H -- "

    def _line(self, verb: str) -> list[str]:
        size = len(agent_program().encode())
        layout = json.dumps(self.layout.to_json())
        return ["python3", "-c", _START, str(size), verb, layout]
