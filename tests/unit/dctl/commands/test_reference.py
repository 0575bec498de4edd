"""`dctl docs`, `dctl explain`, `dctl completion`: what dctl tells about itself."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dctl.cli import COMMANDS, root
from dctl.errors import ExitCode
from dctl.render.reference import man_pages
from tests.unit.dctl.commands.conftest import Dctl

SPEC = "apiVersion: draft/v1\nkind: Cluster\nname: shop\nservices: {cart: {command: cart}}\n"


def complete(words: str, folder: Path) -> list[str]:
    """What bash is offered for the last of `words`."""
    env = {
        **os.environ,
        "_DCTL_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
        "XDG_STATE_HOME": str(folder / "state"),
    }
    done = subprocess.run(
        [sys.executable, "-m", "dctl"], env=env, cwd=folder, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert not done.stderr
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


def test_both_references_are_written_and_told_to_be_fresh_until_somebody_edits_one(
    dctl: Dctl, tmp_path: Path
) -> None:
    assert dctl("docs", str(tmp_path)).code == 0
    assert dctl("docs", str(tmp_path), "--check").code == 0
    assert dctl("docs", str(tmp_path)).out == ""
    (tmp_path / "man1" / "dctl-kv-set.1").write_text("mine")
    outcome = dctl("docs", str(tmp_path), "--check")
    assert outcome.code == ExitCode.ERROR
    assert "dctl-kv-set.1" in outcome.err
    assert "cli.md" not in outcome.err


def test_the_markdown_is_the_committed_page(dctl: Dctl, tmp_path: Path) -> None:
    dctl("docs", str(tmp_path), "--format", "markdown")
    committed = Path(__file__).parents[4] / "docs" / "cli.md"
    assert (tmp_path / "cli.md").read_text() == committed.read_text()
    assert not (tmp_path / "man1").exists()


def test_each_command_has_a_man_page_that_roff_has_nothing_against(tmp_path: Path) -> None:
    pages = man_pages(root, "1.2.3")
    assert {f"dctl-{name}.1" for name in COMMANDS} < set(pages)
    assert all(".SH NAME" in page and "\b" not in page for page in pages.values())
    if not shutil.which("groff"):
        pytest.skip("there is no groff to check the pages with")
    for name, page in pages.items():
        (tmp_path / name).write_text(page)
    done = subprocess.run(
        ["groff", "-man", "-ww", "-Tascii", "-z", *map(str, sorted(tmp_path.iterdir()))],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stderr == ""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell_is_one_that_this_shell_can_read(shell: str, dctl: Dctl) -> None:
    outcome = dctl("completion", shell)
    assert outcome.code == 0
    assert f"{shell}_complete" in outcome.out
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=outcome.out, text=True, check=True, timeout=30)


def test_completion_offers_commands_and_the_names_of_the_spec_at_hand(tmp_path: Path) -> None:
    (tmp_path / "draft.yaml").write_text("name: shop\ncluster: cluster.yaml\n")
    (tmp_path / "cluster.yaml").write_text(SPEC)
    assert complete("dctl inf", tmp_path) == ["infra"]
    assert complete("dctl infra rol", tmp_path) == ["rollback"]
    assert complete("dctl infra restart ca", tmp_path) == ["catalyst", "cart"]
    assert complete("dctl infra plan --service car", tmp_path) == ["cart"]
    assert complete("dctl explain services.cart.hea", tmp_path) == ["services.cart.health"]


def test_completion_says_nothing_where_there_is_nothing_to_offer(tmp_path: Path) -> None:
    (tmp_path / "cluster.yaml").write_text("no: spec")
    assert complete("dctl infra restart ca", tmp_path) == []
    assert complete("dctl infra restart -f cluster.yaml ca", tmp_path) == []
    assert complete("dctl kv get gre", tmp_path) == []


def test_explain_shows_what_a_key_may_hold_and_an_example(dctl: Dctl) -> None:
    told = dctl("explain", "services.cart.health").out
    assert "interval" in told
    assert "1s" in told
    assert "exactly one of grpc" in told
    assert "apiVersion" not in told
    document = dctl("explain", "core.nats.replicas", "-o", "json").json()
    assert document["fields"][0]["value"] == "`1`, `3`, `5`"


def test_explain_of_nothing_known_says_what_was_meant(dctl: Dctl) -> None:
    outcome = dctl("explain", "services.cart.helth")
    assert outcome.code == ExitCode.ERROR
    assert 'did you mean "health"?' in outcome.err
