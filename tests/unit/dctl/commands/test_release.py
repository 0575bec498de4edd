"""`dctl release module | notes | image` on a real git, whose remote is a folder."""

import subprocess
from pathlib import Path

import pytest

from dctl.errors import ExitCode
from tests.unit.dctl.commands.conftest import Dctl, Outcome

SPEC = """\
apiVersion: draft/v1
kind: Cluster
name: shop
services: {cart: {run: services/cart}}
"""


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=ann", "-c", "user.email=ann@example.com")
    done = subprocess.run(
        ["git", "-C", str(folder), *who, *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    git(tmp_path, "init", "--quiet", "--bare", "--initial-branch=main", "remote.git")
    return tmp_path / "remote.git"


@pytest.fixture
def workspace(tmp_path: Path, remote: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace that is committed and pushed; it is the working directory."""
    root = tmp_path / "shop"
    git(tmp_path, "clone", "--quiet", str(remote), "shop")
    git(root, "switch", "--quiet", "--orphan", "main")
    (root / "services" / "cart").mkdir(parents=True)
    (root / "draft.yaml").write_text("name: shop\ncluster: cluster.yaml\n")
    (root / "cluster.yaml").write_text(SPEC)
    (root / "services" / "cart" / "main.py").write_text("print()\n")
    (root / "CHANGELOG.md").write_text("## Unreleased\n### Added\n- Carts.\n")
    for name, value in (("user.name", "ann"), ("user.email", "ann@example.com")):
        git(root, "config", name, value)
    commit(root, "all")
    git(root, "push", "--quiet", "--set-upstream", "origin", "main")
    monkeypatch.chdir(root)
    return root


def commit(root: Path, words: str) -> None:
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", words)


def refused(outcome: Outcome, *words: str) -> None:
    assert outcome.code != ExitCode.OK
    for word in words:
        assert word in outcome.err


def test_a_module_gets_the_next_version_of_its_path_and_the_remote_hears_of_it(
    dctl: Dctl, workspace: Path, remote: Path
) -> None:
    assert dctl("release", "module", "services/cart", "--minor", "-y").out == (
        "services/cart/v0.1.0\n"
    )
    (workspace / "services" / "cart" / "main.py").write_text("print(1)\n")
    commit(workspace, "more")
    told = dctl("release", "module", "services/cart", "--patch", "-y", "-o", "json").json()
    assert (told["tag"], told["path"]) == ("services/cart/v0.1.1", "services/cart")
    assert dctl("release", "module", ".", "--major", "-y").out == "v1.0.0\n"
    assert git(remote, "tag").split() == ["services/cart/v0.1.0", "services/cart/v0.1.1", "v1.0.0"]
    assert git(remote, "rev-list", "-1", "services/cart/v0.1.1") == told["commit"]


def test_what_is_not_committed_is_named_and_nothing_is_released(
    dctl: Dctl, workspace: Path, remote: Path
) -> None:
    (workspace / "services" / "cart" / "main.py").write_text("print(2)\n")
    (workspace / "nôtes.txt").write_text("x")
    refused(dctl("release", "module", "services/cart", "--minor", "-y"), "main.py", "nôtes.txt")
    image = dctl("release", "image", "--registry", "localhost:1/x", "--version", "1.0.0")
    refused(image, "main.py", "nôtes.txt")
    assert not git(remote, "tag")


def test_who_is_behind_the_remote_releases_nothing(
    dctl: Dctl, workspace: Path, remote: Path, tmp_path: Path
) -> None:
    git(tmp_path, "clone", "--quiet", str(remote), "other")
    (tmp_path / "other" / "new.txt").write_text("x")
    commit(tmp_path / "other", "another's")
    git(tmp_path / "other", "push", "--quiet")
    outcome = dctl("release", "module", "services/cart", "--minor", "-y")
    refused(outcome, "origin/main has 1 commit that this has not", "git pull origin main")
    assert not git(workspace, "tag")


def test_releases_are_made_of_the_trunk(dctl: Dctl, workspace: Path) -> None:
    git(workspace, "switch", "--quiet", "--create", "feature")
    refused(dctl("release", "module", "services/cart", "--minor", "-y"), "branch feature", "main")


def test_a_path_that_has_not_changed_gets_no_further_version(dctl: Dctl, workspace: Path) -> None:
    dctl("release", "module", "services/cart", "--minor", "-y")
    (workspace / "CHANGELOG.md").write_text("## Unreleased\n")
    commit(workspace, "elsewhere")
    outcome = dctl("release", "module", "services/cart", "--minor", "-y")
    refused(outcome, "nothing in services/cart has changed since services/cart/v0.1.0")


def test_a_tag_that_cannot_be_pushed_is_not_left_behind(
    dctl: Dctl, workspace: Path, remote: Path
) -> None:
    hook = remote / "hooks" / "update"
    hook.write_text("#!/bin/sh\necho no tags today >&2; exit 1\n")
    hook.chmod(0o755)
    refused(dctl("release", "module", "services/cart", "--minor", "-y"), "git push")
    assert not git(workspace, "tag")


def test_without_a_terminal_the_kind_of_version_and_a_yes_have_to_be_said(
    dctl: Dctl, workspace: Path
) -> None:
    outcome = dctl("release", "module", "services/cart", "-y")
    assert outcome.code == ExitCode.USAGE
    assert "--major, --minor or --patch" in outcome.err
    outcome = dctl("release", "module", "services/cart", "--minor")
    assert outcome.code == ExitCode.USAGE
    assert not git(workspace, "tag")


def test_a_module_of_go_says_its_major_version_in_its_name(dctl: Dctl, workspace: Path) -> None:
    (workspace / "services" / "cart" / "go.mod").write_text("module example.com/cart\n")
    commit(workspace, "go")
    assert dctl("release", "module", "services/cart", "--major", "-y").code == 0
    (workspace / "services" / "cart" / "more.go").write_text("package cart\n")
    commit(workspace, "more")
    outcome = dctl("release", "module", "services/cart", "--major", "-y")
    refused(outcome, "has to end in /v2", "go.mod:1")


def test_an_image_without_any_version_is_refused_in_words(dctl: Dctl, workspace: Path) -> None:
    outcome = dctl("release", "image", "cart", "--registry", "localhost:1/x")
    refused(outcome, "no tag services/cart/vX.Y.Z is on this commit", "--version")
    refused(dctl("release", "image", "card", "--registry", "x"), '"card"', "cart, core")


def test_the_notes_are_the_section_of_the_changelog(dctl: Dctl, workspace: Path) -> None:
    assert dctl("release", "notes").out == "### Added\n- Carts.\n"
    document = dctl("release", "notes", "-o", "json").json()
    assert document["changes"] == {"Added": "- Carts."}
    refused(dctl("release", "notes", "1.0.0"), 'no section "1.0.0"')
    (workspace / "CHANGELOG.md").unlink()
    refused(dctl("release", "notes"), "CHANGELOG.md")
