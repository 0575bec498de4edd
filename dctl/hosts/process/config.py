"""supervisord's configuration for one cluster. Pure.

A section holds only what supervisor itself acts on. Command, environment and files of a program
stay in its manifest, which the shim reads: supervisor would expand `%` in them and keep secrets
in plain text.
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterable
from pathlib import Path

from dctl.errors import DctlError
from dctl.hosts.process.layout import KEEPER, Layout
from dctl.hosts.process.logs import OLDER
from dctl.hosts.process.records import Manifest
from dctl.hosts.process.survivors import MARK, mark

_RUN = Path(__file__).with_name("run.py")
_AUTORESTART = {"always": "true", "on-failure": "unexpected", "never": "false"}
_KEEPER_GRACE = 5  # seconds; it ends at once on SIGTERM

# With the older ones that are kept, one program takes 40 MB at most.
_LOG = "10MB"

Section = tuple[str, dict[str, object]]


def configuration(
    layout: Layout, socket: Path, python: str, asked: Iterable[Manifest], *, quiet: bool
) -> str:
    """The text of supervisord.conf. With `quiet` supervisord starts nothing by itself."""
    sections = [*_frame(layout, socket), _keeper(layout, python)]
    for manifest in asked:
        sections.append(_program(layout, python, manifest, quiet=quiet))
    text = "\n".join(_section(name, values) for name, values in sections)
    # supervisor takes these for the beginning of a comment, quoted or not.
    if found := re.search(r"^.*\s[;#].*$", text, re.MULTILINE):
        raise DctlError(
            f"supervisor cannot work with this path: {found[0]}",
            hint="choose a state folder and a Python whose paths hold no ' ;' and no ' #'",
        )
    return text


def _frame(layout: Layout, socket: Path) -> list[Section]:
    return [
        (
            "supervisord",
            {
                "identifier": f"draft-{layout.state.name}",
                "directory": layout.state,
                "logfile": layout.supervisor_log,
                "logfile_maxbytes": "1MB",
                "logfile_backups": 1,
                "childlogdir": layout.logs,
                "pidfile": layout.pid_file,
                "umask": "022",
            },
        ),
        ("unix_http_server", {"file": socket, "chmod": "0600"}),
        (
            "rpcinterface:supervisor",
            {"supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"},
        ),
    ]


def _keeper(layout: Layout, python: str) -> Section:
    return (
        f"program:{KEEPER}",
        {
            "command": shlex.join([python, "-I", "-S", str(_RUN), "keeper", str(layout.state)]),
            "environment": f'{MARK}="{mark(layout, KEEPER)}"',
            "priority": 1,
            "autorestart": "true",
            "startsecs": 0,
            "stopwaitsecs": _KEEPER_GRACE,
            "redirect_stderr": "true",
            "stdout_logfile": layout.keeper_log,
            "stdout_logfile_maxbytes": "1MB",
            "stdout_logfile_backups": 1,
        },
    )


def _program(layout: Layout, python: str, asked: Manifest, *, quiet: bool) -> Section:
    name, spec = asked["name"], asked["spec"]
    shim = [python, "-I", "-S", str(_RUN), "shim", str(layout.state), name]
    return (
        f"program:{name}",
        {
            "command": shlex.join(shim),
            "autostart": "false" if quiet or asked["held"] else "true",
            "autorestart": _AUTORESTART[spec["restart"]["when"]],
            "exitcodes": 0,
            # With a start-up time to pass, supervisor starts even a job again that has succeeded
            # within it, and gives up one day. Patience is the shim's business.
            "startsecs": 0,
            "stopsignal": spec["stop"]["signal"],
            "stopwaitsecs": max(1, math.ceil(spec["stop"]["timeout"])),
            "stopasgroup": "true",
            "killasgroup": "true",
            "redirect_stderr": "true",
            "stdout_logfile": layout.log(name),
            "stdout_logfile_maxbytes": _LOG,
            "stdout_logfile_backups": OLDER,
        },
    )


def _section(name: str, values: dict[str, object]) -> str:
    # supervisor expands % in every value.
    lines = [f"{key}={str(value).replace('%', '%%')}" for key, value in values.items()]
    return "\n".join([f"[{name}]", *lines]) + "\n"
