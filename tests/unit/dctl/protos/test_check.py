"""What buf finds comes with its place and its rule."""

from pathlib import Path

import pytest

from dctl.errors import NotFoundError, SpecError
from dctl.protos import check
from tests.unit.dctl.protos import workspace


@pytest.fixture
def cart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return workspace.write(tmp_path) / "shop/cart/v1"


def test_a_finding_of_lint_names_place_and_rule(cart: Path) -> None:
    check.lint(Path("api"))
    (cart / "service.proto").write_text(workspace.SERVICE.replace("CartService", "Cart"))
    with pytest.raises(SpecError) as caught:
        check.lint(Path("api"))
    (problem,) = caught.value.problems
    assert problem.startswith("api/shop/cart/v1/service.proto:9:9: ")
    assert "(SERVICE_SUFFIX)" in problem


def test_format_changes_layout_only_and_names_the_file(cart: Path) -> None:
    file = cart / "models.proto"
    file.write_text(workspace.MODELS.replace("string item_name", "string   item_name"))
    assert check.format(Path("api"), check=True) == (Path("api/shop/cart/v1/models.proto"),)
    assert file.read_text() != workspace.MODELS
    assert check.format(Path("api")) == (Path("api/shop/cart/v1/models.proto"),)
    assert file.read_text() == workspace.MODELS
    assert check.format(Path("api")) == ()


def test_format_leaves_a_proto_alone_that_does_not_compile(cart: Path) -> None:
    """buf itself would write back only what it understood."""
    broken = workspace.MODELS.replace("item_name = 1", "item_name =")
    (cart / "models.proto").write_text(broken)
    with pytest.raises(SpecError):
        check.format(Path("api"))
    assert (cart / "models.proto").read_text() == broken


def test_breaking_finds_a_renumbered_field(cart: Path) -> None:
    check.update_baseline(Path("api"))
    check.breaking(Path("api"))
    (cart / "service.proto").write_text(workspace.SERVICE.replace("item = 1", "item = 2"))
    with pytest.raises(SpecError) as caught:
        check.breaking(Path("api"))
    assert "FIELD_NO_DELETE" in caught.value.problems[0]


def test_breaking_without_a_baseline_says_how_to_make_one(cart: Path) -> None:
    with pytest.raises(NotFoundError, match=r"baseline\.binpb") as caught:
        check.breaking(Path("api"))
    assert "--update" in caught.value.hint
