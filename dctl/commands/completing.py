"""Names that completion offers: from the spec at hand, or from the running cluster.

Completion is never in the way: what cannot be had in a moment is not offered, and says nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from dctl.engine.cluster import OpenCluster
    from dctl.spec import Cluster
    from dctl.spec.variant import Variant

Complete = Callable[[click.Context, click.Parameter, str], "list[CompletionItem]"]

_PATIENCE = 1.0  # seconds that somebody waits for a key's name
_MOST = 100


def services(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """All parts of the spec: core, backing and own."""
    return _spec_names(ctx, incomplete, lambda cluster: _parts(cluster))


def hosts(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The hosts of the spec."""
    return _spec_names(ctx, incomplete, lambda cluster: cluster.hosts)


def keys(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The keys in Blueprint that begin like that."""
    found: list[str] = []
    with _silent():
        found += _live_keys(ctx, incomplete)
    return _items(found, incomplete)


def offered(incomplete: str, names: Callable[[], Iterable[str]]) -> list[CompletionItem]:
    """What `names` gives, or nothing when that cannot be had."""
    found: list[str] = []
    with _silent():
        found += names()
    return _items(found, incomplete)


def cluster(ctx: click.Context) -> OpenCluster:
    """The cluster that the command line means so far."""
    from dctl.engine.cluster import open_cluster

    return open_cluster(_file(ctx), _variant(ctx))


def _live_keys(ctx: click.Context, prefix: str) -> Iterator[str]:
    from draft_api.core.registry.key_value.v1 import service_pb2 as pb
    from draft_api.core.registry.key_value.v1 import service_pb2_grpc as rpc

    from dctl.clients import connect

    way = cluster(ctx).way("blueprint")
    with connect("Blueprint", way, timeout=_PATIENCE) as blueprint:
        answer = blueprint.stub(rpc.KeyValueServiceStub).List(
            pb.ListRequest(prefix=prefix, page_size=_MOST), timeout=_PATIENCE
        )
        yield from answer.values


def _spec_names(
    ctx: click.Context, incomplete: str, names: Callable[[Cluster], Iterable[str]]
) -> list[CompletionItem]:
    found: list[str] = []
    with _silent():
        from dctl.workspace import load_spec

        found += names(load_spec(_file(ctx), _variant(ctx)).cluster)
    return _items(found, incomplete)


def _parts(cluster: Cluster) -> Iterable[str]:
    from dctl.engine.catalogue.parts import parts

    return parts(cluster)


def _items(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def _file(ctx: click.Context) -> Path | None:
    file = ctx.params.get("file")
    return Path(file) if file else None


def _variant(ctx: click.Context) -> Variant:
    from dctl.spec.variant import Variant

    meta = ctx.meta
    return Variant(meta.get("dctl.environments", ()), meta.get("dctl.profiles", ()))


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    with contextlib.suppress(Exception):  # whatever it is, nobody asked to hear of it now
        yield
