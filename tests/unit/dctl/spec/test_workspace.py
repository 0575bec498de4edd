"""Which spec is meant, and where its paths start."""

from pathlib import Path

import pytest

from dctl.errors import NotFoundError, SpecError
from dctl.workspace import Api, Workspace, find_spec, find_workspace, load_spec

CLUSTER = "apiVersion: draft/v1\nkind: Cluster\nname: shop\n"


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace with one service; the working directory is a folder deep inside it."""
    root = tmp_path / "shop"
    (root / "clusters").mkdir(parents=True)
    (root / "services/cart").mkdir(parents=True)
    (root / "services/cart/main.py").touch()
    (root / "draft.yaml").write_text(
        "name: shop\ncluster: clusters/dev.yaml\napi: {package: shop_api}\n"
    )
    (root / "clusters/dev.yaml").write_text(CLUSTER + "services: {cart: {run: services/cart}}\n")
    monkeypatch.chdir(root / "services/cart")
    return root


def test_the_nearest_draft_yaml_upward_is_the_workspace(workspace: Path) -> None:
    assert find_workspace() == Workspace(
        workspace,
        "shop",
        workspace / "clusters/dev.yaml",
        Api(workspace / "api", "shop_api", workspace / "api/gen"),
    )


def test_without_a_file_the_workspace_names_the_spec_and_its_root_is_where_paths_start(
    workspace: Path,
) -> None:
    loaded = load_spec()
    assert loaded.cluster.name == "shop"
    assert loaded.root == workspace


def test_a_given_file_wins_and_belongs_to_the_workspace_in_which_it_lies(
    workspace: Path, tmp_path: Path
) -> None:
    other = workspace / "clusters/other.yaml"
    other.write_text(CLUSTER + "services: {cart: {run: services/cart}}\n")
    assert load_spec(other).root == workspace

    outside = tmp_path / "outside.yaml"
    outside.write_text(CLUSTER)
    assert find_spec(outside) == outside
    assert load_spec(outside).root == tmp_path


def test_a_problem_is_shown_under_the_path_that_one_would_type(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workspace)
    (workspace / "clusters/dev.yaml").write_text("name: shop\nkind: Cluster\n")
    with pytest.raises(SpecError) as caught:
        load_spec()
    assert caught.value.problems[0].startswith("clusters/dev.yaml:1:1: missing key")


def test_no_workspace_is_told_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotFoundError, match=r"no draft\.yaml in") as caught:
        load_spec()
    assert "-f" in caught.value.hint


def test_a_workspace_without_a_cluster_is_told_with_what_to_do(workspace: Path) -> None:
    (workspace / "draft.yaml").write_text("name: shop\n")
    with pytest.raises(NotFoundError, match="names no cluster"):
        load_spec()


def test_a_wrong_draft_yaml_is_told_like_a_wrong_spec(workspace: Path) -> None:
    (workspace / "draft.yaml").write_text("name: shop\nclutser: a.yaml\n")
    with pytest.raises(SpecError) as caught:
        find_workspace()
    assert (
        'draft.yaml:2:1: unknown key "clutser"; did you mean "cluster"?'
        in (caught.value.problems[0])
    )


def test_this_repository_is_a_workspace() -> None:
    root = Path(__file__).parents[4]
    workspace = find_workspace(root / "docs")
    assert workspace.cluster == root / "blueprints/local.yaml"
    loaded = load_spec(workspace.cluster)
    assert list(loaded.cluster.services) == ["echo"]
