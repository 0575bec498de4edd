"""dctl cluster: the engine's nodes and streams, and whether they can bear a loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dctl.commands.core import core
from dctl.commands.options import output_option, spec_option, timeout_option
from dctl.errors import DctlError

if TYPE_CHECKING:
    from dctl.render.output import Format

_NODES = {name: name for name in ("node", "state", "leads", "behind")}
_STREAMS = {name: name for name in ("stream", "messages", "bytes", "revision", "copies", "leader")}


@click.group()
def group() -> None:
    """The engine that keeps everything: its nodes and streams."""


@group.command()
@spec_option
@output_option()
@timeout_option("15s")
def status(file: Path | None, format: Format, timeout: float) -> None:
    """Nodes, leaders, sizes, and in words whether a node may fail. Exit 1 when it is not well.

    \b
      dctl cluster status
      dctl cluster status -o json | jq .nodes
    """
    from draft_api.core.consensus.raft.v1 import service_pb2 as pb
    from draft_api.core.consensus.raft.v1 import service_pb2_grpc as rpc

    from dctl.render.output import emit, emit_list

    with core("blueprint", file, timeout) as blueprint:
        answer = blueprint.call(blueprint.stub(rpc.RaftServiceStub).Stats, pb.StatsRequest())
    nodes, streams = read(answer.stats.stats)
    well, words = judged(nodes, streams)
    if format == "table":
        click.echo(words + "\n")
        rows = [{**node, "leads": ", ".join(node["leads"])} for node in nodes]
        emit_list("NodeList", rows, columns=_NODES, format=format)
        click.echo()
        emit_list("StreamList", streams, columns=_STREAMS, format=format)
    else:
        told = {"well": well, "summary": words, "nodes": nodes, "streams": streams}
        emit("ClusterStatus", told, format=format)
    if not well:
        raise DctlError("the engine is not well", hint="dctl infra status")


@group.command()
@click.argument("node")
@spec_option
@timeout_option("15s")
def remove(node: str, file: Path | None, timeout: float) -> None:
    """Have NODE, which is away for good, count no more.

    While a node that is lost is still a member, one less of the others may fail. It has to have
    ended; what is in the cluster spec comes back with `dctl infra apply`, empty, and catches up.

    \b
      dctl cluster remove nats-3
    """
    from dctl.members import remove as remove_member

    with core("blueprint", file, timeout) as blueprint:
        remove_member(blueprint, node, within=timeout)
    click.echo(f"{node} is no member of the engine any more", err=True)


def read(stats: Mapping[str, str]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The nodes and the streams that Blueprint's figures tell of: keys are ``<stream>.<figure>``,
    and ``<stream>.node.<name>`` says how a node does that has a copy."""
    figures: dict[str, dict[str, str]] = {}
    for key, value in stats.items():
        stream, dot, figure = key.partition(".")
        if dot:
            figures.setdefault(stream, {})[figure] = value
    nodes: dict[str, dict[str, Any]] = {}
    for stream, told in sorted(figures.items()):
        for figure, how in told.items():
            if figure.startswith("node."):
                _add(nodes, figure.removeprefix("node."), stream, how)
    streams = [
        {
            "stream": stream,
            "messages": _number(told.get("messages", "")),
            "bytes": _number(told.get("bytes", "")),
            "revision": _number(told.get("last_revision", "")),
            "copies": _number(told.get("replicas", "")),
            "nodes": sum(figure.startswith("node.") for figure in told),
            "leader": told.get("leader") or None,
            "damage": told.get("damage") or None,
            "repaired": told.get("repaired") or None,
        }
        for stream, told in sorted(figures.items())
    ]
    return [nodes[name] for name in sorted(nodes)], streams


def _add(nodes: dict[str, dict[str, Any]], name: str, stream: str, how: str) -> None:
    node = nodes.setdefault(name, {"node": name, "state": "online", "leads": [], "behind": 0})
    state, _, lag = how.partition(", ")
    if state == "offline":
        node["state"] = "offline"
    elif state == "leads":
        node["leads"].append(stream)
    node["behind"] += _number(lag.partition(" ")[0]) or 0


def judged(
    nodes: Sequence[Mapping[str, Any]], streams: Sequence[Mapping[str, Any]]
) -> tuple[bool, str]:
    """Whether all is well, and in a sentence what may still fail."""
    headless = [stream["stream"] for stream in streams if not stream["leader"]]
    if headless:
        return False, (
            f"{', '.join(headless)}: no leader, so nothing can be read or written there. "
            "More than half of the nodes have to run, and to reach each other."
        )
    if damaged := [stream for stream in streams if stream.get("damage")]:
        told = "; ".join(f"{stream['stream']}: {stream['damage']}" for stream in damaged)
        return False, (
            f"Damaged, and there is no other copy: {told}. Restore a backup (dctl backup restore "
            "FILE), or go on without what is lost (dctl backup accept-loss)."
        )
    away = [str(node["node"]) for node in nodes if node["state"] == "offline"]
    copies = min((stream["copies"] or 1 for stream in streams), default=1)
    lacking = [s for s in streams if s["nodes"] < (s["copies"] or 1)]
    spare = (copies - 1) // 2 - len(away)
    if away:
        left = f"{spare} more may fail" if spare > 0 else "no other may fail"
        return False, f"{', '.join(away)} of {len(nodes)} nodes is away: all goes on, and {left}."
    if lacking:
        there = min(int(stream["nodes"]) for stream in lacking)
        return False, (
            f"{there} of {copies} copies are there: all goes on, and no other node may fail."
            " The next node that joins is given one."
        )
    if copies == 1:
        return True, "Well. One copy of everything: while its node is away nothing can be written."
    behind = [str(node["node"]) for node in nodes if node["behind"]]
    late = f" {', '.join(behind)} is catching up." if behind else ""
    return (
        True,
        f"Well. {copies} copies of everything: {spare} of {len(nodes)} nodes may fail.{late}",
    )


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() else None
