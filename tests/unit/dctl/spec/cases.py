"""The folders of cases, and the environment under which they are read."""

from pathlib import Path

from dctl.errors import SpecError
from dctl.spec import Loaded, load

ROOT = Path(__file__).parents[3] / "cases" / "spec"
BAD = sorted((ROOT / "bad").glob("*.yaml"))
GOOD = sorted((ROOT / "good").glob("*.yaml"))

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
    return load(path, env=ENV)


def complaint(path: Path) -> str:
    """What a person would read about a bad spec, without the place of this checkout."""
    try:
        read(path)
    except SpecError as error:
        text = "\n".join([*error.problems, error.message]) + "\n"
        return text.replace(f"{path.parent}/", "").replace(str(path.parent), "<workspace>")
    return "this spec is fine\n"
