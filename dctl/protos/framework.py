"""The framework's own protos (`core/...`), which a workspace's protos may import.

They come with dctl. Their Python code is `draft_api`, which every service has with the chassis: it
is never generated a second time, for protobuf refuses two copies of a message.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dctl import bundled

PACKAGE = "draft_api"
_IMPORT = re.compile(rb'^\s*import\s+(?:public\s+|weak\s+)?"([^"\n]+)"', re.MULTILINE)
_OWN, _FRAMEWORK = "own", "framework"


@dataclass(frozen=True, slots=True)
class Module:
    """How buf is called for a folder of protos: where it runs, what it is given, and what its
    answers have in front of each path."""

    cwd: Path
    input: tuple[str, ...] = ()
    prefix: str = ""


def home() -> Path:
    """Where they are."""
    return bundled.folder("api")


def beside(protos: Path) -> Path | None:
    """The same, for who looks for the imports of `protos`; None where they are these protos."""
    there = home()
    return None if protos.resolve() == there.resolve() else there


def imported(protos: Mapping[str, bytes], own: Path) -> tuple[str, ...]:
    """Those of the framework that these import themselves, sorted."""
    there = beside(own)
    if there is None:
        return ()
    names = {match.decode(errors="replace") for text in protos.values() for match in imports(text)}
    return tuple(sorted(name for name in names - protos.keys() if (there / name).is_file()))


def imports(proto: bytes) -> Iterable[bytes]:
    """The names that a proto imports."""
    return _IMPORT.findall(proto)


@contextmanager
def module(own: Path) -> Iterator[Module]:
    """`own` as buf is to see it. Where it imports the framework's protos they are put beside it, as
    a module of the same (temporary) buf workspace, for buf looks nowhere else."""
    there = beside(own)
    protos = {str(path): path.read_bytes() for path in own.rglob("*.proto") if path.is_file()}
    if there is None or not imported(protos, own):
        yield Module(own)
        return
    with tempfile.TemporaryDirectory(prefix="dctl-buf-") as scratch:
        root = Path(scratch)
        for folder, name in ((own, _OWN), (there, _FRAMEWORK)):
            (root / name).mkdir()
            for entry in folder.absolute().iterdir():
                if not entry.name.startswith("buf."):  # by which a folder is a workspace of its own
                    (root / name / entry.name).symlink_to(entry)
        _write_config(own / "buf.yaml", root / "buf.yaml")
        yield Module(root, (_OWN,), f"{_OWN}/")


def _write_config(own: Path, target: Path) -> None:
    """The rules of the folder's own buf.yaml, for the same files at their place there."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    said: Any = None
    with suppress(YAMLError, UnicodeDecodeError):  # buf itself says best what is wrong with it
        said = YAML(typ="safe").load(own) if own.is_file() else None
    rules = said if isinstance(said, dict) else {}
    modules = [{"path": _OWN}, {"path": _FRAMEWORK}]
    config: dict[str, Any] = {"version": "v2", "modules": modules}
    for section in ("lint", "breaking"):
        if isinstance(rules.get(section), dict):
            config[section] = _moved(rules[section])
    with target.open("w", encoding="utf-8") as file:
        YAML(typ="safe").dump(config, file)


def _moved(section: Mapping[str, Any]) -> dict[str, Any]:
    moved = dict(section)
    if isinstance(moved.get("ignore"), list):
        moved["ignore"] = [f"{_OWN}/{path}" for path in moved["ignore"]]
    if isinstance(moved.get("ignore_only"), dict):
        moved["ignore_only"] = {
            rule: [f"{_OWN}/{path}" for path in paths]
            for rule, paths in moved["ignore_only"].items()
        }
    return moved
