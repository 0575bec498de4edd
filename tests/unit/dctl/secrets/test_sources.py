"""Every source of a secret keeps the same contract: the value as it was put there, or a sentence
that says what is wrong, where, and what next, and never any value."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from dctl.errors import SpecError
from dctl.secrets.redaction import guarded, redacted
from dctl.secrets.sources import LARGEST, SourceError, fetch, source_text
from dctl.secrets.store import FILE, Store
from dctl.secrets.vault import Vault
from dctl.spec import load
from dctl.spec.model import Secret
from tests.support.waiting import wait_until

CAT = "import os, sys; sys.stdout.write(open(sys.argv[1], newline='').read())"


@dataclass
class Place:
    """One kind of source in a workspace."""

    root: Path
    kind: str
    env: dict[str, str]

    def declared(self) -> Secret:
        match self.kind:
            case "file":
                return Secret(file="hidden/pearl")
            case "env":
                return Secret(env="PEARL")
            case "exec":
                return Secret.model_validate({"exec": [sys.executable, "-c", CAT, "printed"]})
        return Secret(store="pearl")

    def put(self, value: str) -> None:
        match self.kind:
            case "file":
                (self.root / "hidden").mkdir(exist_ok=True)
                (self.root / "hidden" / "pearl").write_text(value, newline="")
            case "env":
                self.env["PEARL"] = value
            case "exec":
                (self.root / "printed").write_text(value, newline="")
            case "store":
                Store(self.root).set("pearl", value)

    def fetch(self) -> str:
        return fetch("db", self.declared(), self.root, self.env)


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace, with the user's configuration outside of it."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("DCTL_AGE_KEY_FILE", raising=False)
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


@pytest.fixture(params=["file", "env", "exec", "store"])
def place(request: pytest.FixtureRequest, root: Path) -> Place:
    return Place(root, request.param, {})


@pytest.mark.parametrize("value", ["hunter2", "ä€ \t'\"\\$x", "line\nline\n\nline", "x" * 100_000])
def test_the_value_comes_out_as_it_was_put_in(place: Place, value: str) -> None:
    place.put(value)
    assert place.fetch() == value


def test_an_empty_value_is_an_error_that_names_the_source(place: Place) -> None:
    place.put("")
    with pytest.raises(SourceError, match="is empty") as error:
        place.fetch()
    assert source_text(place.declared()) in str(error.value)


def test_what_is_not_there_is_an_error_that_says_where_it_was_looked_for(place: Place) -> None:
    looked_for = {"file": "hidden/pearl", "env": "PEARL", "exec": sys.executable, "store": FILE}
    with pytest.raises(SourceError) as error:
        place.fetch()
    assert looked_for[place.kind] in str(error.value)


@pytest.mark.parametrize("kind", ["file", "env", "store"])
def test_what_next_is_to_set_it(root: Path, kind: str) -> None:
    with pytest.raises(SourceError, match="dctl secret set db"):
        Place(root, kind, {}).fetch()


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_one_newline_at_the_end_is_the_files_or_the_commands_own(root: Path, end: str) -> None:
    for kind in ("file", "exec"):
        place = Place(root, kind, {})
        place.put(f"pearl\n{end}")
        assert place.fetch() == "pearl\n"


def test_what_is_no_text_or_too_large_is_an_error(root: Path) -> None:
    place = Place(root, "file", {})
    place.put("")
    (root / "hidden" / "pearl").write_bytes(b"\xff\xfe")
    with pytest.raises(SourceError, match="is no text"):
        place.fetch()
    (root / "hidden" / "pearl").write_bytes(b"x" * (LARGEST + 1))
    with pytest.raises(SourceError, match="is larger than 512K"):
        place.fetch()


def test_a_file_that_cannot_be_read_is_an_error_with_the_reason(root: Path) -> None:
    (root / "hidden" / "pearl").mkdir(parents=True)
    with pytest.raises(SourceError, match=r"hidden/pearl cannot be read: is a directory"):
        Place(root, "file", {}).fetch()


def test_a_command_that_fails_is_told_without_what_it_printed(root: Path) -> None:
    script = "import sys; print('pearl-1'); print('pearl-2', file=sys.stderr); sys.exit(3)"
    declared = Secret.model_validate({"exec": [sys.executable, "-c", script, "pearl-3"]})
    with pytest.raises(SourceError, match="exit status 3") as error:
        fetch("db", declared, root, {})
    assert "pearl" not in str(error.value)


def test_a_command_that_does_not_end_is_ended_with_all_that_it_started(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dctl.secrets.sources._PATIENCE", 3.0)
    script = "import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(600)"
    shell = f'{sys.executable} -c "{script}"; true'
    declared = Secret.model_validate({"exec": ["sh", "-c", shell]})
    with pytest.raises(SourceError, match="did not end within"):
        fetch("db", declared, root, {})
    pid = int((root / "pid").read_text())
    wait_until(lambda: gone(pid))


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


SPEC = """\
apiVersion: draft/v1
kind: Cluster
name: shop
secrets:
  db: {env: DB}
  key: {file: key.pem}
  idle: {env: IDLE}
services:
  cart: {command: cart, env: {DB: secret://db, KEY: secret://key}}
"""


@pytest.fixture
def vault(root: Path) -> Callable[..., Vault]:
    def made(env: dict[str, str], key: str = "") -> Vault:
        (root / "cluster.yaml").write_text(SPEC)
        return Vault(load(root / "cluster.yaml", env={}), lambda: key, env)

    return made


def test_all_that_cannot_be_had_is_told_at_once_where_each_is_declared(
    vault: Callable[..., Vault],
) -> None:
    with pytest.raises(SpecError) as error:
        vault({}).open()
    first, second = error.value.problems
    assert "cluster.yaml:5:3: secrets.db: DB is not set" in first
    assert "cluster.yaml:6:3: secrets.key: there is no file" in second


def test_what_nobody_uses_is_not_asked_for(vault: Callable[..., Vault], root: Path) -> None:
    (root / "key.pem").write_text("pem-pearl")
    made = vault({"DB": "db-pearl"})
    made.open()
    assert sorted(made.uses) == ["db", "key"]


def test_what_was_had_is_hidden_from_then_on(vault: Callable[..., Vault], root: Path) -> None:
    (root / "key.pem").write_text("pem-pearl")
    with guarded():
        assert redacted("db-pearl pem-pearl") == "db-pearl pem-pearl"
        vault({"DB": "db-pearl"}).open()
        assert "pearl" not in redacted("db-pearl pem-pearl")


def test_a_digest_follows_value_name_and_key_and_tells_nobody_the_value(
    vault: Callable[..., Vault], root: Path
) -> None:
    (root / "key.pem").write_text("same")
    made = vault({"DB": "same"}, key="k")
    assert made.digest("db") == vault({"DB": "same"}, key="k").digest("db")
    others = [
        made.digest("key"),
        vault({"DB": "other"}, key="k").digest("db"),
        vault({"DB": "same"}, key="another").digest("db"),
        vault({"DB": "same"}).digest("db"),
    ]
    assert made.digest("db") not in others


def test_a_value_that_changed_since_is_not_given_for_the_old_digest(
    vault: Callable[..., Vault], root: Path
) -> None:
    from dctl.errors import DctlError

    (root / "key.pem").write_text("x")
    env = {"DB": "old-pearl"}
    made = vault(env, key="k")
    old = made.digest("db")
    env["DB"] = "new-pearl"
    assert made.text("db", old) == "old-pearl"
    made.forget()
    with pytest.raises(DctlError, match="has another value now"):
        made.text("db", old)
    made.remember("db", old, "somebody-elses")
    with pytest.raises(DctlError, match="has another value now"):
        made.text("db", old)
    made.remember("db", old, "old-pearl")
    assert made.text("db", old) == "old-pearl"


def test_a_file_of_the_user_is_found_by_its_tilde(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(root))
    (root / "pearl").write_text("hunter2")
    assert fetch("db", Secret(file="~/pearl"), Path("/nowhere"), os.environ) == "hunter2"
