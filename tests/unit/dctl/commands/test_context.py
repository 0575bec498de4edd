"""Workspaces from the command line: made, named, found."""

from pathlib import Path

import pytest

from dctl.errors import ExitCode
from tests.unit.dctl.commands.conftest import Dctl

INIT = ("context", "init", "--name", "shop", "--repo", "github.com/acme/shop")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    root = tmp_path / "my shöp"
    root.mkdir()
    monkeypatch.chdir(root)
    return root


def test_init_makes_a_workspace_whose_spec_holds(here: Path, dctl: Dctl) -> None:
    (here / ".gitignore").write_text("mine\n")
    done = dctl(*INIT, "-o", "json")
    assert done.code == ExitCode.OK
    assert done.json()["written"] == ["api/buf.yaml", "cluster.yaml", "draft.yaml"]
    assert (here / ".gitignore").read_text() == "mine\n"
    assert (here / ".draft/cluster.schema.json").is_file()
    assert dctl("config").out.startswith("apiVersion: draft/v1\nkind: Cluster\nname: shop\n")
    shown = dctl("context", "show", "-o", "json").json()
    assert (shown["name"], shown["repo"]) == ("shop", "github.com/acme/shop")
    assert shown["api"]["package"] == "shop_api"


@pytest.mark.parametrize(
    ("argv", "missing"), [(("--repo", "x.org/y"), "--name shop"), (("--name", "shop"), "--repo")]
)
def test_what_is_not_said_is_asked_at_a_terminal_only(
    here: Path, dctl: Dctl, argv: tuple[str, ...], missing: str
) -> None:
    done = dctl("context", "init", *argv)
    assert done.code == ExitCode.USAGE
    assert missing in done.err
    assert not (here / "draft.yaml").exists()


@pytest.mark.parametrize(
    "argv", [("--name", "Shop!"), ("--name", "a" * 60), ("--name", "shop", "--package", "json")]
)
def test_a_name_that_could_not_be_used_is_refused(
    here: Path, dctl: Dctl, argv: tuple[str, ...]
) -> None:
    assert dctl("context", "init", "--repo", "x.org/y", *argv).code == ExitCode.USAGE
    assert not list(here.iterdir())


def test_a_workspace_inside_a_workspace_is_refused_with_the_path_of_the_outer_one(
    here: Path, dctl: Dctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert dctl(*INIT).code == ExitCode.OK
    again = dctl(*INIT)
    assert again.code == ExitCode.ERROR
    assert "is a workspace already" in again.err
    (here / "services/inner").mkdir(parents=True)
    monkeypatch.chdir(here / "services/inner")
    inner = dctl("context", "init", "--name", "inner", "--repo", "x.org/y")
    assert inner.code == ExitCode.ERROR
    assert str(here) in inner.err
    assert not list((here / "services/inner").iterdir())


def test_outside_of_any_workspace_it_is_the_one_of_c_else_the_default_else_an_error(
    here: Path, dctl: Dctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    dctl(*INIT)
    monkeypatch.chdir(here.parent)
    lost = dctl("config")
    assert lost.code == ExitCode.ERROR
    assert "no draft.yaml in" in lost.err
    assert "dctl context init" in lost.err
    assert dctl("config", "-c", "shop").code == ExitCode.OK
    assert dctl("api", "new", "orders.v1", "-c", "shop").code == ExitCode.OK
    assert (here / "api/shop/orders/v1/orders.proto").is_file()
    assert dctl("config", "-c", "shop", "-f", "x.yaml").code == ExitCode.USAGE
    assert dctl("config", "-f", "x.yaml", "-c", "shop").code == ExitCode.USAGE
    assert 'no context "shp"; did you mean "shop"?' in dctl("config", "-c", "shp").err
    assert dctl("context", "set", "shop").code == ExitCode.OK
    assert dctl("config").code == ExitCode.OK
    assert dctl("context", "list", "-o", "json").json()["items"][0]["default"] is True
    dctl("context", "set", "--none")
    assert dctl("config").code == ExitCode.ERROR


def test_a_workspace_that_is_there_already_is_imported(
    here: Path, dctl: Dctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "draft.yaml").write_text("name: shop\ncluster: c.yaml\n")
    (here / "c.yaml").write_text("apiVersion: draft/v1\nkind: Cluster\nname: shop\n")
    assert dctl("context", "import").code == ExitCode.OK
    monkeypatch.chdir(here.parent)
    assert dctl("config", "-c", "shop").code == ExitCode.OK
    assert "no draft.yaml" in dctl("context", "import").err
