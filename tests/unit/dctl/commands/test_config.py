"""`dctl config`: which variant of the spec is meant, and where its values come from."""

import json
from pathlib import Path
from typing import Any

import pytest

from dctl.__main__ import run
from dctl.errors import ExitCode

Output = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace with an overlay for each of two environments; it is the working directory."""
    (tmp_path / "draft.yaml").write_text("name: shop\ncluster: cluster.yaml\n")
    (tmp_path / "cluster.yaml").write_text(
        "apiVersion: draft/v1\nkind: Cluster\nname: shop\n"
        "secrets: {db: {env: DB_PASSWORD}}\n"
        "services:\n"
        "  cart: {command: cart, env: {DB: secret://db, PRICE: $$5}}\n"
        "  mailpit: {command: mailpit, profiles: [dev]}\n"
    )
    (tmp_path / "cluster.prod.yaml").write_text("services: {cart: {replicas: 3}}\n")
    (tmp_path / "cluster.eu.yaml").write_text("services: {cart: {group: eu}}\n")
    monkeypatch.chdir(tmp_path)
    for name in ("DCTL_ENV", "DCTL_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DB_PASSWORD", "hunter2")
    return tmp_path


def config(capsys: Output, *argv: str) -> Any:
    code = run(["config", "-o", "json", *argv])
    out, err = capsys.readouterr()
    assert (code, err) == (0, "")
    return json.loads(out)


def test_without_a_variant_it_is_the_spec_alone(capsys: Output) -> None:
    assert list(config(capsys)["services"]) == ["cart"]
    assert "replicas" not in config(capsys)["services"]["cart"]


def test_e_merges_the_overlays_of_environments_in_their_order(capsys: Output) -> None:
    cart = config(capsys, "-e", "prod", "--env", "eu")["services"]["cart"]
    assert (cart["replicas"], cart["group"]) == (3, "eu")


def test_the_environment_may_name_the_variant(
    capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DCTL_ENV", "prod eu")
    monkeypatch.setenv("DCTL_PROFILE", "dev")
    services = config(capsys)["services"]
    assert (services["cart"]["replicas"], services["cart"]["group"]) == (3, "eu")
    assert "mailpit" in services


def test_a_flag_wins_over_the_environment(capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DCTL_ENV", "prod")
    cart = config(capsys, "-e", "eu")["services"]["cart"]
    assert "replicas" not in cart
    assert cart["group"] == "eu"


def test_a_profile_brings_what_names_it(capsys: Output) -> None:
    assert list(config(capsys, "--profile", "dev")["services"]) == ["cart", "mailpit"]


def test_a_missing_overlay_is_an_error_that_names_it(capsys: Output) -> None:
    assert run(["config", "-e", "stage"]) == ExitCode.BAD_SPEC
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("cluster.stage.yaml:1:1: cannot be read: no such file or directory\n")


@pytest.mark.parametrize("name", ["../prod", "", "a/b", ".", "ä"])
def test_an_environment_is_a_name_and_never_a_path(capsys: Output, name: str) -> None:
    assert run(["config", "-e", name]) == ExitCode.USAGE
    assert "is no name" in capsys.readouterr().err


def test_origins_say_the_file_and_line_of_each_value_and_secrets_stay_references(
    capsys: Output,
) -> None:
    assert run(["config", "-e", "prod", "--show-origin"]) == 0
    out, _ = capsys.readouterr()
    lines = {line.split("#")[0].strip(): line.partition("# ")[2] for line in out.splitlines()}
    assert lines["replicas: 3"] == "cluster.prod.yaml:1"
    assert lines["DB: secret://db"] == "cluster.yaml:6"
    assert lines["PRICE: $$5"] == "cluster.yaml:6"
    assert lines["env: DB_PASSWORD"] == "cluster.yaml:4"
    assert "hunter2" not in out


def test_origins_for_programs_are_a_list_of_places(capsys: Output) -> None:
    data = config(capsys, "-e", "prod", "--show-origin")
    assert data["kind"] == "ClusterOrigins"
    assert {
        "path": "services.cart.replicas",
        "value": 3,
        "file": "cluster.prod.yaml",
        "line": 1,
        "column": 29,
    } in data["items"]


def test_other_commands_mean_the_same_variant(workspace: Path, capsys: Output) -> None:
    (workspace / "cluster.prod.yaml").write_text("services: {cart: {replicas: many}}\n")
    for command in ("infra status", "infra logs", "ps", "kv get a", "tui --snapshot a.txt"):
        assert run([*command.split(), "-e", "prod"]) == ExitCode.BAD_SPEC
        assert "cluster.prod.yaml:1:29: services.cart.replicas" in capsys.readouterr().err


def test_what_a_secret_variable_holds_is_not_told_and_the_output_is_a_spec_again(
    workspace: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_TOKEN", "pearl-1")
    monkeypatch.setenv("PLAIN", "pearl-2")
    monkeypatch.setenv("REGION", "eu")
    text = (workspace / "cluster.yaml").read_text()
    more = 'A: "x${API_TOKEN}", PASSWORD: "${PLAIN}", B: "${DB_PASSWORD}", C: "${REGION}", '
    (workspace / "cluster.yaml").write_text(text.replace("PRICE:", f"{more}PRICE:"))
    env = config(capsys)["services"]["cart"]["env"]
    assert env["A"] == "x${API_TOKEN}"
    assert env["PASSWORD"] == "${PLAIN}"
    assert env["B"] == "${DB_PASSWORD}"  # a secret is taken from it
    assert env["C"] == "eu"
    for flags in ([], ["--show-origin"], ["--show-origin", "-o", "json"]):
        assert run(["config", *flags]) == 0
        out, _ = capsys.readouterr()
        assert "pearl" not in out
        assert "hunter2" not in out
        if "json" not in flags:
            (workspace / "again.yaml").write_text(out)
            assert run(["config", "-f", "again.yaml", "-o", "json"]) == 0
            assert json.loads(capsys.readouterr().out)["services"]["cart"]["env"] == env
