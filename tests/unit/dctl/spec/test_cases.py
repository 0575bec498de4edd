"""Specs against what is said about them. A new case is a new file in tests/cases/spec: under bad/
`name.yaml` and, in `name.txt`, what has to be printed; under good/ `name.yaml` alone."""

import io
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from dctl.render.spec import escaped
from dctl.spec import load
from tests.unit.dctl.spec.cases import BAD, ENV, GOOD, complaint, read


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


@pytest.mark.parametrize("path", GOOD, ids=lambda p: p.stem)
def test_a_good_spec_loads_and_reads_the_same_when_printed_as_a_spec_again(
    path: Path, tmp_path: Path
) -> None:
    loaded = read(path)
    text = io.StringIO()
    YAML().dump(escaped(dict(loaded.data)), text)
    again = tmp_path / "again.yaml"
    again.write_text(text.getvalue())

    second = load(again, env={}, root=loaded.root)

    assert second.data == loaded.data
    written = {"inventory", "api_version"}  # merged into hosts by now
    assert second.cluster.model_dump(exclude=written) == loaded.cluster.model_dump(exclude=written)


def test_the_problems_of_a_spec_are_the_same_every_time() -> None:
    for path in BAD:
        assert complaint(path) == complaint(path)
        assert dict(ENV) == ENV
