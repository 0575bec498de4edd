"""What Blueprint tells Prometheus about itself."""

from __future__ import annotations

from collections.abc import Iterator

from chassis.figures import Figure
from draft_services.blueprint.keyvalue import KeyValue
from draft_services.blueprint.registry import Registry
from draft_services.blueprint.view import View
from draft_services.engine.commit import GroupCommit


def figures(
    keyvalue: KeyValue, keys: View, registry: Registry, writes: dict[str, GroupCommit]
) -> Iterator[Figure]:
    """All figures as of now. `writes` are the ways into the stores, the keys' own as ``keys``."""
    views = {"keys": keys, "processes": registry.view}
    yield Figure("draft_blueprint_keys", "Keys that are held.", keys.count)
    yield Figure("draft_blueprint_bytes", "Bytes of keys and values that are held.", keys.bytes)
    yield Figure(
        "draft_blueprint_stored_bytes",
        "Bytes that the engine keeps of keys and of what they were before.",
        keyvalue.held.stored,
    )
    yield Figure(
        "draft_blueprint_limit",
        "The most that there may be.",
        {name: getattr(keyvalue.limits, name) for name in ("keys", "bytes", "store", "watchers")},
        label="of",
    )
    yield Figure(
        "draft_blueprint_view_revision",
        "The last revision that the view has taken in.",
        {name: view.revision for name, view in views.items()},
        label="store",
    )
    yield Figure(
        "draft_blueprint_view_lag",
        "Revisions that the engine has named and the view lacks.",
        {name: view.lag for name, view in views.items()},
        label="store",
    )
    yield Figure(
        "draft_blueprint_watchers",
        "Open watches.",
        {"keys": keyvalue.watchers, "processes": registry.watchers},
        label="store",
    )
    yield Figure(
        "draft_blueprint_processes",
        "Registered processes by their state.",
        registry.by_state(),
        label="state",
    )
    yield Figure(
        "draft_blueprint_leases_expired_total",
        "Silences that this node has acted on: a process became silent, or is gone.",
        registry.expired,
        kind="counter",
        label="verdict",
    )
    yield Figure(
        "draft_blueprint_writes_total",
        "Changes that this node has had stored.",
        {name: commit.written for name, commit in writes.items()},
        kind="counter",
        label="store",
    )
    yield Figure(
        "draft_blueprint_commit_batch_size",
        "Changes of keys that were stored together.",
        writes["keys"].batches,
    )
