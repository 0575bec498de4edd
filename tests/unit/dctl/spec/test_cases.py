"""Specs against what is said about them. A new case is a new file in tests/cases/spec: under bad/
`name.yaml` and, in `name.txt`, what has to be printed; under good/ `name.yaml` alone; under many/ a
folder with a `cluster.yaml` of several files and, in `shown.txt`, what `dctl config --show-origin`
says, with the flags that its first line gives."""

import io
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from dctl.render.spec import escaped
from dctl.spec import Loaded, load
from tests.unit.dctl.spec.cases import BAD, ENV, FINE, GOOD, MANY, complaint, read, shown


@pytest.mark.parametrize("path", BAD, ids=lambda p: p.stem)
def test_a_bad_spec_is_refused_with_these_words(path: Path) -> None:
    assert complaint(path) == path.with_suffix(".txt").read_text()


@pytest.mark.parametrize("path", BAD, ids=lambda p: p.stem)
def test_no_value_from_the_environment_is_ever_shown(path: Path) -> None:
    assert "hunter2" not in complaint(path)


def test_ten_different_mistakes_are_ten_positions() -> None:
    path = next(p for p in BAD if p.stem == "ten-mistakes")
    lines = [line for line in complaint(path).splitlines() if line.startswith(path.name)]
    positions = [tuple(map(int, line.split(":")[1:3])) for line in lines]
    assert len(set(positions)) == 10
    assert positions == sorted(positions)


@pytest.mark.parametrize("path", MANY, ids=lambda p: p.parent.name)
def test_the_files_of_a_spec_are_read_as_one_and_every_value_and_mistake_keeps_its_place(
    path: Path,
) -> None:
    assert shown(path) == path.with_name("shown.txt").read_text()


@pytest.mark.parametrize("path", [*GOOD, *FINE], ids=lambda p: f"{p.parent.name}/{p.stem}")
@pytest.mark.parametrize("origins", [False, True], ids=["plain", "with-origins"])
def test_a_good_spec_reads_the_same_when_printed_as_a_spec_again(
    path: Path, origins: bool, tmp_path: Path
) -> None:
    loaded = read(path)
    text = io.StringIO()
    YAML().dump(escaped(dict(loaded.data)), text)
    again = tmp_path / "again.yaml"
    again.write_text(shown(path) if origins else text.getvalue())

    second = load(again, env={}, root=loaded.root)

    assert second.data == loaded.data
    assert typed(second) == typed(loaded)


def typed(loaded: Loaded) -> dict[str, Any]:
    """The model, without what is merged into other keys by now."""
    here = {"__all__": {"profiles"}}
    gone = {"inventory": True, "include": True, "groups": True, "api_version": True}
    return loaded.cluster.model_dump(exclude={**gone, "services": here, "infra": here})


def test_the_problems_of_a_spec_are_the_same_every_time() -> None:
    for path in BAD:
        assert complaint(path) == complaint(path)
        assert dict(ENV) == ENV
