"""A backup's file is whole and as it was written, or it is refused."""

from __future__ import annotations

import os
import random
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from dctl.archive import CHUNK, Manifest, Stream, reading, writing
from dctl.errors import DctlError

MANIFEST = Manifest("shop", "2026-01-02T03:04:05+00:00", "0.1.0", "2.15.1")


def chunks(*sizes: int, seed: int = 1) -> Iterator[bytes]:
    drawn = random.Random(seed)
    for size in sizes:
        yield drawn.randbytes(size)


def write(path: Path, **streams: tuple[int, ...]) -> None:
    with writing(path) as backup:
        for name, sizes in streams.items():
            backup.add(name, {"name": name}, {"messages": 1}, chunks(*sizes), live=name == "live")
        backup.finish(MANIFEST)


def read(path: Path) -> tuple[Manifest, dict[str, bytes]]:
    with reading(path) as backup:
        manifest = backup.check()
        return manifest, {s.name: b"".join(content) for s, content in backup.contents()}


def test_what_was_written_is_read_and_told_in_the_manifest(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.zst"
    write(path, keys=(10, 700_000), live=(5,), empty=())
    manifest, contents = read(path)
    assert contents == {
        "keys": b"".join(chunks(10, 700_000)),
        "live": b"".join(chunks(5)),
        "empty": b"",
    }
    assert (manifest.cluster, manifest.created, manifest.format) == ("shop", MANIFEST.created, 1)
    told = {s.name: (s.size, s.chunks, s.live) for s in manifest.streams}
    assert told == {"keys": (700_010, 2, False), "live": (5, 1, True), "empty": (0, 0, False)}
    with reading(path) as backup:
        assert backup.manifest() == manifest


def test_only_its_owner_can_read_it_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    os.umask(0o022)
    write(tmp_path / "a.tar.zst", keys=(10,))
    assert (tmp_path / "a.tar.zst").stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["a.tar.zst"]


def test_one_that_is_not_finished_leaves_nothing_and_the_old_one_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.zst"
    write(path, keys=(10,))
    before = path.read_bytes()

    def interrupted() -> Iterator[bytes]:
        yield b"half"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), writing(path, replace=True) as backup:
        backup.add("keys", {}, {}, interrupted())
    with pytest.raises(DctlError, match="is there already"):
        write(path, keys=(20,))
    assert path.read_bytes() == before
    assert [*tmp_path.iterdir()] == [path]


def test_every_truncated_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.zst"
    write(path, keys=(300,), ce=(200,))
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(DctlError, match="is no backup, or is damaged"):
            read(path)


def test_a_flipped_bit_is_refused_or_changes_nothing_that_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.zst"
    write(path, keys=(300,), ce=(200,))
    whole, was = path.read_bytes(), read(path)
    refused = 0
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :])
        try:
            assert read(path) == was
        except DctlError:
            refused += 1
    # A few bits mean nothing to what is read, such as how much memory to take for it.
    assert refused > len(whole) * 0.97


def test_bytes_behind_the_end_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.zst"
    write(path, keys=(300,))
    path.write_bytes(path.read_bytes() + b"more")
    with pytest.raises(DctlError, match="damaged"):
        read(path)


def test_a_format_of_the_future_is_refused_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.zst"
    with writing(path) as backup:
        backup.finish(Manifest("shop", "", "", "", format=2))
    with pytest.raises(DctlError, match="format 2") as refused:
        read(path)
    assert "newer" in refused.value.hint


def test_what_a_newer_dctl_tells_besides_is_passed_over() -> None:
    text = Manifest("shop", "", "", "", (Stream("a", False, {}, {}, 0, 0, ""),)).encode()
    more = text.replace(b'"cluster"', b'"more": 1, "cluster"').replace(
        b'"live"', b'"other": 2, "live"'
    )
    assert Manifest.decode(more) == Manifest.decode(text)


def test_a_large_stream_is_never_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.zst"
    tracemalloc.start()
    try:
        write(path, ce=(CHUNK,) * 200)  # 50 MiB
        with reading(path) as backup:
            backup.check()
            for _, content in backup.contents():
                for _ in content:
                    pass
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16 << 20
