"""Secrets as files that one process may read, in memory where the machine has such a place.

`<state>/delivered/<instance>/<name>` is their path whatever is behind it: a link to a private
folder in memory, else a folder on the disk. So the environment that chose the place once (it may
be another one next time) changes no path.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from dctl.errors import DctlError
from dctl.hosts.process.layout import Layout
from dctl.hosts.state.files import private_folder, remove_tree, write_whole

_IN_MEMORY = ("tmpfs", "ramfs")


def deliver(layout: Layout, instance: str, values: Mapping[str, str]) -> bool:
    """Let exactly these be there, readable by their owner only; whether no disk has them."""
    forget_one(layout, instance)
    if not values:
        return True
    _prepare(layout)
    folder = layout.delivered / instance
    private_folder(folder)
    for name, text in values.items():
        write_whole(folder / name, text)
    return layout.delivered.is_symlink()


def there(layout: Layout, instance: str, name: str) -> bool:
    """Whether it is (still) delivered: memory is empty after a restart of the machine."""
    return layout.delivered_to(instance, name).is_file()


def read(layout: Layout, instance: str) -> dict[str, str]:
    """What is delivered, by name."""
    try:
        files = sorted((layout.delivered / instance).iterdir())
        return {file.name: file.read_text("utf-8") for file in files if file.name[0] != "."}
    except OSError:
        return {}


def forget_one(layout: Layout, instance: str) -> None:
    """Take all away that one process was given."""
    remove_tree(layout.delivered / instance)


def forget(layout: Layout) -> None:
    """Take everything away, and the folder that was made for it."""
    if layout.delivered.is_symlink():
        target = Path(os.readlink(layout.delivered))
        # The link is in our own folder; still, nothing but what we have made is removed.
        if target.name.startswith(_prefix(layout)) and _is_ours(target):
            remove_tree(target)
        layout.delivered.unlink()
    else:
        remove_tree(layout.delivered)


def memory() -> Path | None:
    """Where files can be kept in memory; None where there is no such place. What belongs to a
    login comes second: it goes when the user logs out."""
    for place in ("/dev/shm", os.environ.get("XDG_RUNTIME_DIR", "")):
        folder = Path(place)
        if os.path.isabs(place) and folder.is_dir() and os.access(folder, os.W_OK | os.X_OK):
            kinds = [(mount, kind) for mount, kind in _mounts() if folder.is_relative_to(mount)]
            if kinds and max(kinds, key=lambda found: len(found[0].parts))[1] in _IN_MEMORY:
                return folder
    return None


def _prepare(layout: Layout) -> None:
    """Make the place, unless there is one that is ours alone."""
    at = layout.delivered
    if at.is_symlink():
        if _is_ours(at.resolve()):
            return
        at.unlink()  # memory was emptied
    elif at.is_dir():
        return
    place = memory()
    if place is None:
        private_folder(at)
        return
    import tempfile  # here, for observing must not pay for it

    # A new name that nobody can have made before us; closed to others from the first moment.
    made = tempfile.mkdtemp(prefix=_prefix(layout), dir=place)
    try:
        at.symlink_to(made)
    except OSError:
        with suppress(OSError):
            os.rmdir(made)
        raise


def _prefix(layout: Layout) -> str:
    return f"draft-{layout.state.name}-"


def _is_ours(folder: Path) -> bool:
    try:
        seen = folder.lstat()
    except OSError:
        return False
    if seen.st_uid != os.getuid() or seen.st_mode & 0o077:
        raise DctlError(f"{folder} is not a private folder of ours", hint="remove it, then go on")
    return folder.is_dir()


def _mounts() -> Iterator[tuple[Path, str]]:
    try:
        lines = Path("/proc/self/mounts").read_text("utf-8", "replace").splitlines()
    except OSError:
        return  # no Linux: nothing is known to be in memory
    for line in lines:
        _, place, kind, *_ = line.split(" ")
        yield Path(place), kind
