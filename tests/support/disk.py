"""A disk that fails: a file system in a file, which becomes read-only as one does whose disk has
errors. It takes root, loop devices and ext4."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

_SIZE = "48M"


class Disk:
    """Mounted at `folder`."""

    def __init__(self, folder: Path, image: Path) -> None:
        self.folder = folder
        self._image = image
        self._device = ""

    def open(self) -> None:
        """Make and mount it; skips the test where that cannot be."""
        self.folder.mkdir()
        if os.geteuid():
            pytest.skip("a disk that fails is a loop device, which root may mount")
        try:
            _run("truncate", "--size", _SIZE, str(self._image))
            _run("mkfs.ext4", "-q", "-F", str(self._image))
            self._mount()
        except (subprocess.CalledProcessError, FileNotFoundError) as error:
            pytest.skip(f"no loop device can be mounted here: {error}")
        if not self._trigger.exists():
            self.close()
            pytest.skip("this kernel does not let a file system fail on demand")

    def fail(self) -> None:
        """From now on nothing can be written, whoever has files open."""
        self._trigger.write_text("1")

    def mend(self) -> None:
        """Check and mount it again. Nobody may have files open."""
        self.close()
        subprocess.run(["e2fsck", "-f", "-y", str(self._image)], capture_output=True, check=False)
        self._mount()

    def close(self) -> None:
        """Take it away."""
        if device := self._device:
            self._device = ""
            _run("umount", str(self.folder))
            _run("losetup", "--detach", device)

    @property
    def _trigger(self) -> Path:
        return Path("/sys/fs/ext4", Path(self._device).name, "trigger_fs_error")

    def _mount(self) -> None:
        self._device = _run("losetup", "--find", "--show", str(self._image))
        _run("mount", "-o", "errors=remount-ro", self._device, str(self.folder))


@contextlib.contextmanager
def disk_that_fails(folder: Path, beside: Path) -> Iterator[Disk]:
    """One that is whole as yet, with its file `beside`; gone afterwards."""
    disk = Disk(folder, beside / "disk.ext4")
    try:
        disk.open()
        yield disk
    finally:
        disk.close()


def _run(*command: str) -> str:
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return done.stdout.strip()
