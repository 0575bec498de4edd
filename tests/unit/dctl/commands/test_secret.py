"""`dctl secret`: values come in and go out only where they are meant to."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from dctl.__main__ import run
from dctl.errors import ExitCode
from dctl.secrets.store import FILE

Output = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "work"
    root.mkdir()
    (root / "draft.yaml").write_text("name: shop\ncluster: cluster.yaml\n")
    (root / "cluster.yaml").write_text(
        "apiVersion: draft/v1\nkind: Cluster\nname: shop\n"
        "security: {nonce: secret://nonce}\n"
        "secrets:\n"
        "  db: {store: db-here}\n"
        "  api: {env: API_PEARL}\n"
        "  key: {file: key.pem}\n"
        "  nonce: {exec: pass show shop/nonce}\n"
        "services:\n"
        "  cart: {command: cart, env: {DB: secret://db, API: secret://api}}\n"
        "  mail: {command: mail, env: {DB: secret://db}}\n"
    )
    monkeypatch.chdir(root)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for name in ("API_PEARL", "DCTL_AGE_KEY_FILE", "DCTL_YES", "DCTL_ENV"):
        monkeypatch.delenv(name, raising=False)
    return root


def secret(capsys: Output, *argv: str, code: int = 0) -> tuple[str, str]:
    assert run(["secret", *argv]) == code
    return capsys.readouterr()


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What comes through standard input."""

    def give(data: bytes) -> None:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))

    return give


def test_a_value_comes_through_standard_input_and_leaves_only_when_meant(
    capsys: Output, typed: Any, workspace: Path
) -> None:
    typed(b"pearl\nof the sea\n")
    out, err = secret(capsys, "set", "db")
    assert (out, "pearl" in err) == ("", False)
    assert "db-here" in json.loads((workspace / FILE).read_text())["secrets"]
    out, err = secret(capsys, "get", "db", code=ExitCode.USAGE)
    assert (out, "--reveal" in err) == ("", True)
    assert secret(capsys, "get", "db", "--reveal") == ("pearl\nof the sea\n", "")


def test_a_value_is_never_an_argument(capsys: Output) -> None:
    _, err = secret(capsys, "set", "db", "pearl", code=ExitCode.USAGE)
    assert "unexpected extra argument" in err


@pytest.mark.parametrize(
    ("data", "words"),
    [(b"", "empty"), (b"\n", "empty"), (b"\xff", "no text"), (b"x" * 600_000, "larger")],
    ids=["nothing", "a newline", "binary", "huge"],
)
def test_what_cannot_be_a_secret_is_refused(
    capsys: Output, typed: Any, data: bytes, words: str, workspace: Path
) -> None:
    typed(data)
    assert words in secret(capsys, "set", "db", code=ExitCode.USAGE)[1]
    assert not (workspace / FILE).exists()


def test_what_cannot_be_hidden_is_told(capsys: Output, typed: Any) -> None:
    typed(b"abc")
    assert "cannot be hidden in logs" in secret(capsys, "set", "db")[1]


def test_what_comes_from_elsewhere_is_not_set_here(capsys: Output, typed: Any) -> None:
    typed(b"pearl")
    _, err = secret(capsys, "set", "api", code=ExitCode.ERROR)
    assert "api comes from env API_PEARL, not from the store" in err


def test_one_that_nobody_declared_is_kept_and_what_to_declare_is_told(
    capsys: Output, typed: Any
) -> None:
    typed(b"pearl")
    assert "secrets: {new: {store: new}}" in secret(capsys, "set", "new")[1]
    assert secret(capsys, "get", "new", "--reveal")[0] == "pearl\n"


def test_the_list_tells_source_state_and_use_and_runs_no_command(
    capsys: Output, typed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed(b"pearl")
    secret(capsys, "set", "spare")
    monkeypatch.setenv("API_PEARL", "pearl")
    out, _ = secret(capsys, "list", "-o", "json")
    assert json.loads(out)["items"] == [
        {"name": "db", "source": "store db-here", "state": "missing", "used": ["cart", "mail"]},
        {"name": "api", "source": "env API_PEARL", "state": "there", "used": ["cart"]},
        {"name": "key", "source": "file key.pem", "state": "missing", "used": []},
        {"name": "nonce", "source": "exec pass", "state": "unknown", "used": ["security.nonce"]},
        {"name": "spare", "source": "store spare", "state": "undeclared", "used": []},
    ]


def test_what_is_missing_is_told_at_its_place(capsys: Output) -> None:
    _, err = secret(capsys, "get", "key", "--reveal", code=ExitCode.BAD_SPEC)
    assert err.startswith("cluster.yaml:8:3: secrets.key: there is no file ")
    _, err = secret(capsys, "get", "other", "--reveal", code=ExitCode.ERROR)
    assert 'declares no secret "other"; there are: db, api, key, nonce' in err


def test_removing_asks_first_and_names_who_uses_it(capsys: Output, typed: Any) -> None:
    typed(b"pearl")
    secret(capsys, "set", "db")
    typed(b"")
    assert "no terminal to ask at" in secret(capsys, "remove", "db", code=ExitCode.USAGE)[1]
    secret(capsys, "remove", "db", "-y")
    assert "is not in" in secret(capsys, "remove", "db", "-y", code=ExitCode.ERROR)[1]


def test_others_are_let_in_by_their_public_key(
    capsys: Output, typed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed(b"pearl")
    secret(capsys, "set", "db")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "yours"))
    yours = secret(capsys, "key")[0].strip()
    assert yours.startswith("age1")
    _, err = secret(capsys, "get", "db", "--reveal", code=ExitCode.BAD_SPEC)
    assert f"dctl secret allow {yours}" in err
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    secret(capsys, "allow", yours)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "yours"))
    assert secret(capsys, "get", "db", "--reveal")[0] == "pearl\n"
