"""No file, however strange, makes loading raise anything but SpecError."""

import io
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from dctl.errors import SpecError
from dctl.spec import load
from dctl.spec.model import Cluster
from dctl.spec.variant import Variant
from tests.unit.dctl.spec.cases import ENV, GOOD, ROOT

EVERYTHING = next(path for path in GOOD if path.stem == "everything").read_text()
FUZZ = settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

_KEYS = st.sampled_from(
    [*re.findall(r"[\w-]+(?=:)", EVERYTHING), "x-a", "<<", "include", "via", "false"]
)
_WORDS = st.sampled_from([*re.findall(r"[^\s,:{}\[\]]+", EVERYTHING), "${A}", "${COUNT}", "$$"])
_SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | _WORDS
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(_KEYS | st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=20,
)
_SPECS = st.fixed_dictionaries(
    {"apiVersion": st.just("draft/v1"), "kind": st.just("Cluster"), "name": st.just("shop")},
    optional={
        key: st.dictionaries(_KEYS, _VALUES, max_size=3)
        for key in ("hosts", "groups", "core", "secrets", "infra", "services")
    }
    | {"include": _VALUES, "inventory": _VALUES},
)


def survives(tmp_path: Path, content: bytes, *, overlay: bool = False) -> None:
    (tmp_path / "cluster.yaml").write_text(EVERYTHING)
    variant = Variant(("fuzz",) if overlay else ())
    (tmp_path / f"cluster{'.fuzz' if overlay else ''}.yaml").write_bytes(content)
    problems: tuple[str, ...] = ()
    try:
        loaded = load(tmp_path / "cluster.yaml", variant, env=ENV, root=ROOT / "good")
        assert isinstance(loaded.cluster, Cluster)
    except SpecError as error:
        problems = error.problems or ("an error without a problem",)
    for problem in problems:
        assert problem.startswith(str(tmp_path))
        assert all(c.isprintable() or c == "\n" for c in problem)


@FUZZ
@given(st.binary(max_size=200))
def test_any_bytes(tmp_path: Path, content: bytes) -> None:
    survives(tmp_path, content)


@FUZZ
@given(st.text(alphabet=" \n\t-:?,[]{}#&*!|>'\"%@`~<=.0189aeNx$\\U\ufeff\x85\u2028é", max_size=60))
def test_any_text_of_the_letters_that_yaml_cares_for(tmp_path: Path, text: str) -> None:
    survives(tmp_path, text.encode())


@FUZZ
@given(st.integers(0, len(EVERYTHING)), st.integers(0, 12), st.text(max_size=6))
def test_a_good_spec_with_a_piece_replaced(
    tmp_path: Path, start: int, length: int, piece: str
) -> None:
    text = EVERYTHING[:start] + piece + EVERYTHING[start + length :]
    survives(tmp_path, text.encode("utf-8", "surrogatepass"))


@FUZZ
@given(_SPECS)
def test_a_spec_with_any_values(tmp_path: Path, spec: dict[str, Any]) -> None:
    text = io.StringIO()
    try:
        YAML().dump(spec, text)
    except Exception:  # noqa: BLE001  ruamel cannot write every value that Hypothesis invents
        return
    survives(tmp_path, text.getvalue().encode("utf-8", "surrogatepass"))


@FUZZ
@given(_SPECS, st.sampled_from(["", "!reset ", "!override "]), st.integers(0, 20))
def test_an_overlay_with_any_values(
    tmp_path: Path, spec: dict[str, Any], tag: str, where: int
) -> None:
    text = io.StringIO()
    try:
        YAML().dump(spec, text)
    except Exception:  # noqa: BLE001  ruamel cannot write every value that Hypothesis invents
        return
    before, colon, after = text.getvalue().partition(": " if where % 2 else ":\n")
    content = before + (f": {tag}" if where % 2 else f": {tag}\n") * bool(colon) + after
    survives(tmp_path, content.encode("utf-8", "surrogatepass"), overlay=True)


@pytest.mark.parametrize(
    "content",
    [
        b"? " * 400_000,
        b"[" * 400_000,
        b"{a: " * 100_000,
        b"- " * 400_000,
        b"a: &a [*a, *a]\n" * 10_000,
        b"x" * 1_000_000 + b": 1",
        b"a: '" + b"''" * 400_000,
        b"%YAML 1.1\n" * 50_000,
        b"&a " * 300_000,
        b"!a " * 300_000,
    ],
    ids=lambda content: content[:12].decode().strip(),
)
def test_a_file_made_to_exhaust_the_reader_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_bytes(content)
    with pytest.raises(SpecError):
        load(file, env={})
