"""`dctl export` as it is called: files, notes, refusals."""

from pathlib import Path

import pytest

from dctl.errors import ExitCode
from tests.unit.dctl.commands.conftest import Dctl

SPEC = "apiVersion: draft/v1\nkind: Cluster\nname: shop\n"


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "draft.yaml").write_text("name: shop\ncluster: cluster.yaml\n")
    (tmp_path / "cluster.yaml").write_text(SPEC)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("kind", ["compose", "kubernetes"])
def test_data_is_on_stdout_or_in_the_file_and_what_is_to_be_done_on_stderr(
    kind: str, dctl: Dctl, workspace: Path
) -> None:
    told = dctl("export", kind)
    assert told.code == 0
    assert told.out.startswith("# shop for ")
    assert "openssl rand" in told.err
    assert "openssl" not in told.out
    assert told.out.endswith("\n")
    into = dctl("export", kind, "--out", "x.yaml")
    assert into.out == ""
    assert (workspace / "x.yaml").read_text() == told.out


@pytest.mark.parametrize("kind", ["compose", "kubernetes"])
def test_what_is_encrypted_is_not_exported_as_if_it_were_not(
    kind: str, dctl: Dctl, workspace: Path
) -> None:
    (workspace / "cluster.yaml").write_text(f"{SPEC}security: {{tls: true}}\n")
    told = dctl("export", kind)
    assert told.code == ExitCode.BAD_SPEC
    assert told.out == ""
    assert "cluster.yaml:4:12: security.tls: cannot be exported" in told.err
