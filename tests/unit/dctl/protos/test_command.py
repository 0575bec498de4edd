"""`dctl api` from the command line: output, exit codes, files."""

import json
from pathlib import Path

import pytest

from dctl.__main__ import run
from dctl.errors import ExitCode
from tests.unit.dctl.protos import workspace


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    workspace.write(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_build_finds_the_workspace_from_a_folder_below(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(root / "api/shop")
    assert run(["api", "build", "-o", "json"]) == ExitCode.OK
    told = json.loads(capsys.readouterr().out)
    assert (told["kind"], told["package"], told["protos"]) == ("ApiBuild", "shop_api", 2)
    assert told["fresh"] is False
    assert "shop/cart/v1/service_pb2.py" in told["written"]
    assert (root / "api/gen/shop_api/shop/cart/v1/service_pb2.py").is_file()


def test_build_check_fails_and_names_the_edited_file(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["api", "build"]) == ExitCode.OK
    assert run(["api", "build", "--check"]) == ExitCode.OK
    (root / "api/gen/shop_api/shop/cart/v1/models_pb2.py").write_text("# mine now\n")
    capsys.readouterr()
    assert run(["api", "build", "--check"]) == ExitCode.ERROR
    told = capsys.readouterr()
    assert told.out == ""
    assert "api/gen/shop_api/shop/cart/v1/models_pb2.py" in told.err
    assert "dctl api build" in told.err


def test_a_wrong_proto_is_a_bad_spec(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "api/shop/cart/v1/models.proto").write_text('syntax = "proto3"; message A { B b = 1; }')
    assert run(["api", "build"]) == ExitCode.BAD_SPEC
    assert "models.proto:1:32: cannot find `B`" in capsys.readouterr().err


def test_lint_format_breaking_and_clean(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    models = root / "api/shop/cart/v1/models.proto"
    assert run(["api", "lint"]) == ExitCode.OK
    assert run(["api", "breaking"]) == ExitCode.ERROR
    assert run(["api", "breaking", "--update"]) == ExitCode.OK
    assert run(["api", "breaking"]) == ExitCode.OK
    capsys.readouterr()
    models.write_text(workspace.MODELS + "\n\n\n")
    assert run(["api", "format", "--check"]) == ExitCode.ERROR
    assert capsys.readouterr().out == "api/shop/cart/v1/models.proto\n"
    assert run(["api", "format"]) == ExitCode.OK
    assert models.read_text() == workspace.MODELS
    models.write_text(workspace.MODELS.replace("price = 2", "price = 3"))
    assert run(["api", "breaking"]) == ExitCode.BAD_SPEC
    models.write_text(workspace.MODELS)
    assert run(["api", "build"]) == ExitCode.OK
    assert run(["api", "clean"]) == ExitCode.OK
    assert not (root / "api/gen/shop_api").exists()


def test_a_workspace_without_protos_says_what_to_add(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "draft.yaml").write_text("name: shop\n")
    assert run(["api", "build"]) == ExitCode.ERROR
    assert "api: {folder: api" in capsys.readouterr().err
