"""Profiles: workloads that are there only when one of their profiles is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dctl.spec.problems import Problem, shorten
from dctl.spec.translate import did_you_mean
from dctl.spec.tree import Entry, Table
from dctl.spec.view import entries, texts

SECTIONS = ("infra", "services")


def left_out(
    tree: Table, active: Sequence[str], problems: list[Problem]
) -> Mapping[str, Sequence[str]]:
    """The workloads that are not there, and the profiles that would bring each."""
    named = {
        name: profiles
        for section in SECTIONS
        for name, entry in entries(tree, section).items()
        if (profiles := texts(entry.node, "profiles"))
    }
    known = {profile for profiles in named.values() for profile in profiles}
    for profile in active:
        if profile not in known:
            message = f'nothing has the profile "{shorten(profile)}" that is asked for'
            problems.append(Problem(tree.span, message + did_you_mean(profile, known)))
    return {name: profiles for name, profiles in named.items() if not {*profiles} & {*active}}


def prune(tree: Table, names: Mapping[str, object]) -> Table:
    """The tree without the workloads of these names, and with the others there for good."""
    kept = Table(tree.span, dict(tree.entries))
    for section in SECTIONS:
        found = entries(tree, section)
        if any("profiles" in entries(entry.node) for entry in found.values()):
            there = {key: _for_good(entry) for key, entry in found.items() if key not in names}
            kept.entries[section] = Entry(kept.entries[section].span, Table(tree.span, there))
    return kept


def _for_good(entry: Entry) -> Entry:
    if not isinstance(entry.node, Table) or "profiles" not in entry.node.entries:
        return entry
    words = {key: word for key, word in entry.node.entries.items() if key != "profiles"}
    return Entry(entry.span, Table(entry.node.span, words))
