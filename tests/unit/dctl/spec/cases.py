"""The folders of cases, and the environment under which they are read."""

import io
import itertools
import shlex
import sys
from pathlib import Path

from ruamel.yaml import YAML

from dctl.errors import SpecError
from dctl.render.spec import commented
from dctl.spec import Loaded, load
from dctl.spec.variant import Variant

ROOT = Path(__file__).parents[3] / "cases" / "spec"
BAD = sorted((ROOT / "bad").glob("*.yaml"))
GOOD = sorted((ROOT / "good").glob("*.yaml"))
MANY = sorted((ROOT / "many").glob("*/cluster.yaml"))
FINE = [p for p in MANY if "nothing was changed" not in p.with_name("shown.txt").read_text()]

ENV = {
    "COUNT": "3",
    "EMPTY": "",
    "PORT": "10001",
    "RATIO": "0.5",
    "REGION": "eu",
    "SECRET": "hunter2",
    "STRUCTURE": "{a: [1]}",
    "YES": "true",
}


def read(path: Path) -> Loaded:
    return load(path, variant_of(path), env=ENV)


def variant_of(path: Path) -> Variant:
    """The variant that the case's first line asks for: `# dctl config -e prod --profile dev`."""
    first = path.read_bytes().split(b"\n")[0].decode(errors="replace")
    words = shlex.split(first.removeprefix("# ")) if first.startswith("# dctl config") else []
    flags = list(itertools.pairwise(words))
    return Variant(
        tuple(value for flag, value in flags if flag == "-e"),
        tuple(value for flag, value in flags if flag == "--profile"),
    )


def complaint(path: Path) -> str:
    """What a person would read about a bad spec, without the place of this checkout."""
    try:
        read(path)
    except SpecError as error:
        text = "\n".join([*error.problems, error.message]) + "\n"
        return text.replace(f"{path.parent}/", "").replace(str(path.parent), "<workspace>")
    return "this spec is fine\n"


def shown(path: Path) -> str:
    """What `dctl config --show-origin` says, or the complaint."""
    try:
        loaded = read(path)
    except SpecError:
        return complaint(path)
    text, yaml = io.StringIO(), YAML()
    yaml.width = sys.maxsize
    yaml.dump(commented(loaded.tree), text)
    return text.getvalue().replace(f"{path.parent}/", "")
