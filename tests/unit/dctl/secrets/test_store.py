"""The encrypted store: only who is let in can read it, and it is whole or says what is wrong."""

import json
from pathlib import Path

import pytest

from dctl.errors import DctlError
from dctl.secrets import age
from dctl.secrets.store import FILE, Store


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return somebody(tmp_path, monkeypatch, "me")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


def somebody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> Path:
    """From now on it is `name` who works here."""
    home = tmp_path / f"config-{name}"
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home))
    monkeypatch.delenv(age.KEY_FILE, raising=False)
    return home


def test_what_is_kept_can_be_read_again_and_the_file_holds_no_value(root: Path) -> None:
    Store(root).set("db", "pearl of the sea")
    assert Store(root).get("db") == "pearl of the sea"
    assert Store(root).get("other") is None
    assert "pearl" not in (root / FILE).read_text()


def test_the_key_is_private_from_the_first_moment_and_never_in_the_workspace(
    root: Path, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Store(root).set("db", "x")
    key = config / "draft" / "age.key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert key.parent.stat().st_mode & 0o777 == 0o700
    monkeypatch.setenv(age.KEY_FILE, str(root / "key"))
    (root / FILE).unlink()
    with pytest.raises(DctlError, match="the key would stand in the workspace"):
        Store(root).set("db", "x")
    assert not (root / "key").exists()


def test_a_key_that_others_may_read_is_refused(root: Path, config: Path) -> None:
    Store(root).set("db", "x")
    (config / "draft" / "age.key").chmod(0o644)
    with pytest.raises(DctlError, match="others may read the key") as error:
        Store(root).get("db")
    assert error.value.hint.startswith("chmod 600 ")


def test_names_are_listed_and_values_are_set_without_any_key(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Store(root).set("db", "old")
    other = somebody(tmp_path, monkeypatch, "ci")
    Store(root).set("db", "new")
    assert Store(root).names() == ["db"]
    assert not other.exists()
    somebody(tmp_path, monkeypatch, "me")
    assert Store(root).get("db") == "new"


def test_who_is_not_let_in_is_told_what_to_ask_for_and_can_read_it_then(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Store(root).set("db", "pearl")
    somebody(tmp_path, monkeypatch, "you")
    yours = age.make_key(root)
    with pytest.raises(DctlError, match="not encrypted for your key") as error:
        Store(root).get("db")
    assert error.value.hint.endswith(f"dctl secret allow {yours}")
    with pytest.raises(DctlError, match="not encrypted for your key"):
        Store(root).allow(yours)
    somebody(tmp_path, monkeypatch, "me")
    Store(root).allow(yours)
    assert Store(root).get("db") == "pearl"
    somebody(tmp_path, monkeypatch, "you")
    assert Store(root).get("db") == "pearl"


def test_without_a_key_it_says_where_that_was_looked_for(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Store(root).set("db", "x")
    home = somebody(tmp_path, monkeypatch, "nobody")
    with pytest.raises(DctlError, match=f"there is no key to the store: {home}"):
        Store(root).get("db")


def test_what_is_no_public_key_is_refused_and_changes_nothing(root: Path) -> None:
    Store(root).set("db", "x")
    before = (root / FILE).read_bytes()
    for text in ("age1nonsense", "", "pearl"):
        with pytest.raises(DctlError, match="is no public key"):
            Store(root).allow(text)
    assert (root / FILE).read_bytes() == before


def damaged(root: Path, change: str) -> None:
    document = json.loads((root / FILE).read_text())
    sealed = document["secrets"]["db"]
    document["secrets"]["db"] = {
        "cut": sealed[: len(sealed) // 8 * 4],
        "flipped": sealed[:-8] + ("AAAA" if sealed[-8:-4] != "AAAA" else "BBBB") + sealed[-4:],
        "no base64": "%%%%",
        "empty": "",
    }[change]
    (root / FILE).write_text(json.dumps(document))


@pytest.mark.parametrize("change", ["cut", "flipped", "no base64", "empty"])
def test_a_damaged_entry_is_named_and_the_others_can_be_read(root: Path, change: str) -> None:
    Store(root).set("db", "pearl")
    Store(root).set("other", "shell")
    damaged(root, change)
    with pytest.raises(DctlError, match=f'"db" in {FILE} is damaged'):
        Store(root).get("db")
    assert Store(root).get("other") == "shell"


def test_two_that_somebody_exchanged_are_told_apart(root: Path) -> None:
    Store(root).set("db", "pearl")
    Store(root).set("admin", "shell")
    document = json.loads((root / FILE).read_text())
    document["secrets"]["db"] = document["secrets"]["admin"]
    (root / FILE).write_text(json.dumps(document))
    with pytest.raises(DctlError, match="holds what was kept as another"):
        Store(root).get("db")


@pytest.mark.parametrize("text", ["", "<<<<<<< HEAD", "[]", '{"kind": "SecretStore"}'])
def test_what_is_no_store_is_refused_and_left_alone(root: Path, text: str) -> None:
    (root / FILE).write_text(text)
    with pytest.raises(DctlError, match=FILE):
        Store(root).set("db", "x")
    assert (root / FILE).read_text() == text


def test_a_write_that_fails_leaves_the_store_as_it_was(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Store(root).set("db", "pearl")
    before = (root / FILE).read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(DctlError, match="cannot be written: No space left"):
        Store(root).set("db", "other")
    assert (root / FILE).read_bytes() == before
    assert [path.name for path in root.iterdir()] == [FILE]


def test_one_line_changes_with_one_secret(root: Path) -> None:
    for name in ("a", "b", "c"):
        Store(root).set(name, name)
    before = (root / FILE).read_text().splitlines()
    Store(root).set("b", "other")
    after = (root / FILE).read_text().splitlines()
    assert len(before) == len(after)
    changed = [line for line, other in zip(before, after, strict=True) if line != other]
    assert len(changed) == 1
    assert changed[0].strip().startswith('"b":')


def test_a_reader_sees_the_old_store_or_the_new_and_never_a_part(root: Path) -> None:
    Store(root).set("db", "old")
    before = (root / FILE).read_text()
    with open(root / FILE) as reader:
        Store(root).set("db", "new")
        assert reader.read() == before
    assert Store(root).get("db") == "new"
