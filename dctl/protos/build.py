"""Build the generated package, check that it is fresh, and clean it away.

What is written is exactly what the protos and the tools give: files are compared before they are
touched, so an editor or a type checker notices only real changes. In the package's folder the
names `*_pb2.py`, `*_pb2.pyi`, `*_pb2_grpc.py` and `*_pb2_grpc.pyi` are ours: one that no proto
gives is removed. Everything else there is the user's: `__init__.py` and `py.typed` are made where
they lack, and never changed.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from dctl.errors import NotFoundError
from dctl.protos import rename, stamp, tools
from dctl.protos.stamp import Stamp

_GENERATED = re.compile(r".+_pb2(_grpc)?\.pyi?")
_FACE = b'"""Python code generated from protos by `dctl api build`."""\n'


@dataclass(frozen=True, slots=True)
class BuildResult:
    """What a build did, or with `check` would do. Files are relative to `target`."""

    target: Path
    protos: int
    written: tuple[str, ...]
    removed: tuple[str, ...]
    unchanged: int

    @property
    def fresh(self) -> bool:
        """Whether the package was already what the protos give."""
        return not self.written and not self.removed


def build(
    folder: Path, out: Path, package: str, *, stamp_file: Path | None = None, check: bool = False
) -> BuildResult:
    """Generate `package` under `out` from the protos under `folder`.

    `check` writes nothing. `stamp_file` makes an unchanged build cheap. SpecError carries every
    problem of the protos; then nothing was written.
    """
    target = out / package
    protos = _read_protos(folder)
    inputs = stamp.digest_inputs(protos, package, tools.versions())
    last = stamp.read(stamp_file) if stamp_file else None
    if last and last.inputs == inputs and _untouched(target, last.outputs):
        return BuildResult(target, len(protos), (), (), len(last.outputs))

    files = _generate(folder, package, list(protos))
    markers = _markers(files)
    changed = [name for name, content in files.items() if _content(target / name) != content]
    written = sorted(changed + [name for name in markers if not (target / name).exists()])
    removed = sorted(_existing(target) - files.keys())
    if not check:
        for name in written:
            _write(target / name, files[name] if name in files else markers[name])
        _remove(target, removed)
        if stamp_file:
            outputs = {name: stamp.digest(content) for name, content in files.items()}
            stamp.write(stamp_file, Stamp(inputs, outputs))
    unchanged = len(files) - len(changed)
    return BuildResult(target, len(protos), tuple(written), tuple(removed), unchanged)


def clean(out: Path, package: str, *, stamp_file: Path | None = None) -> tuple[str, ...]:
    """Remove every generated file of `package` (and what only it needed); returns their names."""
    target = out / package
    names = sorted(_existing(target))
    _remove(target, names)
    if stamp_file:
        stamp_file.unlink(missing_ok=True)
    return tuple(names)


def _read_protos(folder: Path) -> dict[str, bytes]:
    """The workspace's own protos by their names relative to `folder`, sorted."""
    paths = (p for p in folder.rglob("*.proto") if p.is_file())
    names = sorted(p.relative_to(folder).as_posix() for p in paths)
    protos = {name: (folder / name).read_bytes() for name in names if rename.is_own(name)}
    if not protos:
        raise NotFoundError(
            f"there is no .proto file under {folder}",
            hint="write one such as <folder>/<domain>/v1/service.proto, or set api.folder",
        )
    return protos


def _generate(folder: Path, package: str, names: Iterable[str]) -> dict[str, bytes]:
    """The generated files of `names`, by their names relative to the package's folder."""
    from google.protobuf.descriptor_pb2 import FileDescriptorSet

    with tempfile.TemporaryDirectory(prefix="dctl-api-") as scratch:
        work = Path(scratch)
        read, moved, out = work / "read.binpb", work / "moved.binpb", work / "out"
        out.mkdir()
        keep = ["--include_imports", "--include_source_info"]  # comments become docstrings
        tools.protoc([*keep, "-I.", f"--descriptor_set_out={read}", *names], folder=folder)
        files = rename.move_into(FileDescriptorSet.FromString(read.read_bytes()), package)
        moved.write_bytes(files.SerializeToString())

        own = [rename.renamed(name, package) for name in names]
        serving = [file.name for file in files.file if file.service and file.name in set(own)]
        _run_plugins(moved, out, {"python": None, "mypy": "mypy"}, own)
        if serving:  # a module of stubs for a file without services would be empty
            _run_plugins(moved, out, {"grpc_python": None, "mypy_grpc": "mypy_grpc"}, serving)
        root = out / package
        return {
            path.relative_to(root).as_posix(): path.read_bytes()
            for path in sorted(root.rglob("*"))
            if path.is_file()
        }


def _run_plugins(
    descriptors: Path, out: Path, generators: Mapping[str, str | None], names: Iterable[str]
) -> None:
    outputs = [f"--{generator}_out={out}" for generator in generators]
    plugins = [tools.protoc_plugin(plugin) for plugin in generators.values() if plugin]
    tools.protoc([f"--descriptor_set_in={descriptors}", *plugins, *outputs, *names], folder=out)


def _markers(files: Iterable[str]) -> dict[str, bytes]:
    """What makes the folders packages, and the package typed."""
    folders = {parent for name in files for parent in Path(name).parents}
    markers = {(folder / "__init__.py").as_posix(): b"" for folder in folders}
    return {**markers, "__init__.py": _FACE, "py.typed": b""}


def _existing(target: Path) -> set[str]:
    """The names of the generated files that are there."""
    return {
        path.relative_to(target).as_posix()
        for path in target.rglob("*_pb2*")
        if _GENERATED.fullmatch(path.name)
    }


def _untouched(target: Path, outputs: Mapping[str, str]) -> bool:
    """Whether what was generated is still there as it was, and nothing beside it."""
    found = {name: stamp.digest((target / name).read_bytes()) for name in _existing(target)}
    return found == outputs and all((target / name).exists() for name in _markers(outputs))


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all: an interpreter may be importing the package right now."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, scratch = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(scratch).chmod(0o644)
        Path(scratch).replace(path)
    except BaseException:
        Path(scratch).unlink(missing_ok=True)
        raise


def _remove(target: Path, names: Iterable[str]) -> None:
    """Remove files, and the folders in which nothing but our markers is left."""
    for name in names:
        path = target / name
        path.unlink()
        for folder in path.parents[: len(Path(name).parts)]:
            if not _forsaken(folder):
                break
            shutil.rmtree(folder)


def _forsaken(folder: Path) -> bool:
    """Whether `folder` holds nothing but markers as we wrote them, and Python's own cache."""
    return all(
        path.name == "__pycache__"
        or path.parent.name == "__pycache__"
        or (path.name in ("__init__.py", "py.typed") and path.read_bytes() in (b"", _FACE))
        for path in folder.rglob("*")
    )
