"""Build the generated package, check that it is fresh, and clean it away.

What is written is exactly what the protos and the tools give: files are compared before they are
touched, so an editor or a type checker notices only real changes. In the package's folder the
names `*_pb2.py`, `*_pb2.pyi`, `*_pb2_grpc.py` and `*_pb2_grpc.pyi` are ours: one that no proto
gives is removed. Everything else there is the user's: `__init__.py` and `py.typed` are made where
they lack, and never changed.
"""

from __future__ import annotations

import difflib
import fcntl
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dctl.errors import NotFoundError, SpecError
from dctl.protos import framework, languages, rename, stamp, tools
from dctl.protos.check import BASELINE
from dctl.protos.stamp import Stamp
from dctl.spec.problems import spec_error

if TYPE_CHECKING:
    from google.protobuf.descriptor_pb2 import FileDescriptorSet

_GENERATED = re.compile(r".+_pb2(_grpc)?\.pyi?")
RESERVED = frozenset({"buf", "chassis", "dctl", "draft_api", "draft_services", "google", "grpc"})
_FACE = b'"""Python code generated from protos by `dctl api build`."""\n'


@dataclass(frozen=True, slots=True)
class BuildResult:
    """What a build did, or with `check` would do. Files are relative to `target`."""

    target: Path
    protos: int
    written: tuple[str, ...]
    removed: tuple[str, ...]
    unchanged: int

    edited: Mapping[str, str] = field(default_factory=dict)
    """Files that were changed by hand since they were generated: a diff of each. Without `force`
    nothing was written then."""
    also: tuple[str, ...] = ()
    """The folders of other languages that were generated anew, beside `target`."""

    @property
    def fresh(self) -> bool:
        """Whether the package was already what the protos give."""
        return not (self.written or self.removed or self.also)


@dataclass(frozen=True, slots=True)
class Further:
    """What goes with a package: the plugins of other languages and the `repo` that their packages
    are named after; and what draft.yaml said (`asked`), with its digest (see `stamp.Stamp`)."""

    plugins: Mapping[str, str] = field(default_factory=dict)
    repo: str = ""
    draft: str = ""
    asked: Mapping[str, Any] = field(default_factory=dict)


_NOTHING = Further()


def build(
    folder: Path,
    out: Path,
    package: str,
    *,
    stamp_file: Path | None = None,
    check: bool = False,
    force: bool = False,
    before: Callable[[], None] = lambda: None,
    further: Further = _NOTHING,
) -> BuildResult:
    """Generate `package` under `out` from the protos under `folder`.

    `check` writes nothing. `stamp_file` makes an unchanged build cheap, and tells what was edited
    by hand, which only `force` overwrites. `before` is called when something is to be generated,
    and may raise. `further` goes with the package. SpecError carries every problem of the protos;
    then nothing was written.
    """
    protos = _read_protos(folder)
    refuse_clashes(protos, folder, package)
    alone = nullcontext() if check or stamp_file is None else _one_at_a_time(stamp_file)
    with alone:
        return _build(
            folder, out / package, protos, _Way(stamp_file, check, force, before), further
        )


@dataclass(frozen=True, slots=True)
class _Way:
    """How a build is done: see `build`."""

    stamp_file: Path | None
    check: bool
    force: bool
    before: Callable[[], None]


def _build(
    folder: Path, target: Path, protos: Mapping[str, bytes], way: _Way, further: Further
) -> BuildResult:
    out, package, stamp_file = target.parent, target.name, way.stamp_file
    foreign = framework.imported(protos, folder)
    others = languages.fingerprint(further.plugins)
    everything = {**protos, **_also(folder, foreign)}
    inputs = stamp.digest_inputs(everything, package, {**tools.versions(), **others})
    last = stamp.read(stamp_file) if stamp_file else None
    fresh = last and last.inputs == inputs and languages.there(out, others)
    if fresh and last and _untouched(target, last.outputs):
        if stamp_file and not way.check and last.draft != further.draft:
            stamp.write(stamp_file, replace(last, draft=further.draft, asked=further.asked))
        return BuildResult(target, len(protos), (), (), len(last.outputs))

    way.before()
    files = _generate(folder, package, list(protos))
    markers = _markers(files)
    changed = [name for name, content in files.items() if _content(target / name) != content]
    written = sorted(changed + [name for name in markers if not (target / name).exists()])
    removed = sorted(_existing(target) - files.keys())
    edited = _edited(target, [*changed, *removed], files, last.outputs if last else {})
    if edited and not way.force:
        return BuildResult(
            target,
            len(protos),
            tuple(written),
            tuple(removed),
            len(files) - len(changed),
            edited,
        )
    also: tuple[str, ...] = ()
    if not way.check:
        for name in written:
            _write(target / name, files[name] if name in files else markers[name])
        _remove(target, removed)
        also = languages.generate(folder, out, further.plugins, further.repo)
        if stamp_file:
            outputs = {name: stamp.digest(content) for name, content in files.items()}
            stamp.write(stamp_file, Stamp(inputs, outputs, further.draft, further.asked))
    unchanged = len(files) - len(changed)
    return BuildResult(target, len(protos), tuple(written), tuple(removed), unchanged, also=also)


def clean(out: Path, package: str, *, stamp_file: Path | None = None) -> tuple[str, ...]:
    """Remove every generated file of `package` (and what only it needed); returns their names."""
    target = out / package
    names = sorted(_existing(target))
    _remove(target, names)
    if stamp_file:
        stamp_file.unlink(missing_ok=True)
    return tuple(names)


def refuse_clashes(protos: Iterable[str], folder: Path, package: str) -> None:
    """Raise SpecError for what could not be imported beside the rest: a package that is somebody
    else's, a proto of the framework's name, two protos of one module."""
    there = framework.beside(folder)
    if there is None:
        return
    if package in RESERVED or package in sys.stdlib_module_names:
        raise SpecError(
            f'the package cannot be called "{package}": that is another one\'s name already',
            hint="choose another in draft.yaml: api: {package: NAME_api}",
        )
    problems = []
    modules: dict[str, str] = {}
    for name in protos:
        first = modules.setdefault(name.replace("-", "_").casefold(), name)
        if (there / name).is_file():
            why = "the framework has a proto of this name: import that one, or move this one"
            problems.append(tools.problem(folder, name, why))
        elif first != name:
            why = f"would become the same module as {first}: rename one of them"
            problems.append(tools.problem(folder, name, why))
    if problems:
        raise spec_error(problems)


def _also(folder: Path, foreign: Iterable[str]) -> dict[str, bytes]:
    """What decides, besides the protos, whether they are well and what is made of them."""
    names = {f"framework/{name}": framework.home() / name for name in foreign}
    names |= {name: folder / name for name in ("buf.yaml", BASELINE)}
    return {name: path.read_bytes() for name, path in names.items() if path.is_file()}


def _edited(
    target: Path, names: Iterable[str], files: Mapping[str, bytes], made: Mapping[str, str]
) -> dict[str, str]:
    """Those that are not as they were made: what somebody changed, and would lose."""
    found = {}
    for name in sorted(names):
        content = _content(target / name)
        if content is None or name not in made or stamp.digest(content) == made[name]:
            continue
        fresh, own = (
            text.decode(errors="replace").splitlines(keepends=True)
            for text in (files.get(name, b""), content)
        )
        found[name] = "".join(difflib.unified_diff(fresh, own, "generated", "edited"))
    return found


@contextmanager
def _one_at_a_time(stamp_file: Path) -> Iterator[None]:
    """Two builds of one package wait for each other; the second finds nothing left to do."""
    stamp_file.parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(stamp_file.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _read_protos(folder: Path) -> dict[str, bytes]:
    """The workspace's own protos by their names relative to `folder`, sorted."""
    paths = (p for p in folder.rglob("*.proto") if p.is_file())
    names = sorted(p.relative_to(folder).as_posix() for p in paths)
    protos = {name: (folder / name).read_bytes() for name in names if rename.is_own(name)}
    if not protos:
        raise NotFoundError(
            f"there is no .proto file under {folder}",
            hint="write one: dctl api new orders.v1; or set api.folder in draft.yaml",
        )
    return protos


def _generate(folder: Path, package: str, names: Sequence[str]) -> dict[str, bytes]:
    """The generated files of `names`, by their names relative to the package's folder."""
    found = descriptors(folder, names)
    own_names = set(names)
    homes = {f.name: framework.PACKAGE for f in found.file if f.name not in own_names}
    files = rename.move_into(found, package, homes)
    with tempfile.TemporaryDirectory(prefix="dctl-api-") as scratch:
        work = Path(scratch)
        moved, out = work / "moved.binpb", work / "out"
        out.mkdir()
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


def descriptors(folder: Path, names: Sequence[str] | None = None) -> FileDescriptorSet:
    """The protos under `folder` (all, or those named), and all that they import, with their
    comments. SpecError when they do not compile."""
    from google.protobuf.descriptor_pb2 import FileDescriptorSet

    names = list(_read_protos(folder)) if names is None else names
    with tempfile.TemporaryDirectory(prefix="dctl-api-") as scratch:
        read = Path(scratch) / "read.binpb"
        beside = framework.beside(folder)
        places = ["-I.", *([f"-I{beside}"] if beside else [])]
        keep = ["--include_imports", "--include_source_info", f"--descriptor_set_out={read}"]
        tools.protoc([*keep, *places, *names], folder=folder)
        return FileDescriptorSet.FromString(read.read_bytes())


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
