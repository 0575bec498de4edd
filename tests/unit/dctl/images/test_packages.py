"""Packages are downloaded once, for the machine that they are meant for; pip is real, its index
is a folder."""

from __future__ import annotations

import base64
import hashlib
import sys
import zipfile
from pathlib import Path

import pytest

from dctl.errors import DctlError
from dctl.images.packages import Packages, cache, pip_command, unpacked


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


def wheel(index: Path, name: str, *, tag: str = "py3-none-any", needs: str = "") -> None:
    """A wheel with a module and a program."""
    info = f"{name}-1.0.dist-info"
    files = {
        f"{name}.py": "def main(): print('hello')\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
        + (f"Requires-Dist: {needs}\n" if needs else ""),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n",
        f"{info}/entry_points.txt": f"[console_scripts]\n{name}-go = {name}:main\n",
    }
    record = "".join(f"{path},{_hash(text)},{len(text)}\n" for path, text in files.items())
    with zipfile.ZipFile(index / f"{name}-1.0-{tag}.whl", "w") as archive:
        for path, text in {**files, f"{info}/RECORD": record + f"{info}/RECORD,,\n"}.items():
            archive.writestr(path, text)


def _hash(text: str) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest())
    return "sha256=" + digest.rstrip(b"=").decode()


def asked(*requirements: str, machine: str = "aarch64", resolve: bool = False) -> Packages:
    return Packages(requirements, "3.12", machine, 36, resolve=resolve)


def test_packages_for_another_machine_are_unpacked_beside_their_programs(index: Path) -> None:
    wheel(index, "greet", tag="cp312-cp312-manylinux_2_28_aarch64")
    folder = unpacked(asked("greet==1.0"))
    assert (folder / "lib" / "greet.py").is_file()
    assert not (folder / "lib" / "bin").exists()
    program = (folder / "bin" / "greet-go").read_text()
    assert program.startswith("#!/opt/draft/bin/python\n")
    assert sys.executable not in program


def test_what_was_downloaded_once_needs_no_index_again(index: Path) -> None:
    wheel(index, "greet")
    first = unpacked(asked("greet==1.0"))
    next(index.iterdir()).unlink()
    assert unpacked(asked("greet==1.0")) == first


def test_a_failed_download_shows_what_pip_said_and_leaves_nothing(index: Path) -> None:
    wheel(index, "greet", tag="cp312-cp312-manylinux_2_28_x86_64")
    with pytest.raises(DctlError, match=r"Python 3\.12 on aarch64") as caught:
        unpacked(asked("greet==1.0"))
    assert "greet==1.0" in caught.value.message
    assert list((cache() / "packages").iterdir()) == []


def test_needs_are_followed_only_when_asked(index: Path) -> None:
    wheel(index, "greet", needs="words")
    wheel(index, "words")
    assert not (unpacked(asked("greet==1.0")) / "lib" / "words.py").exists()
    assert (unpacked(asked("greet==1.0", resolve=True)) / "lib" / "words.py").exists()


def test_a_service_cannot_change_what_the_chassis_runs_with(index: Path) -> None:
    wheel(index, "greet", needs="words>=1")
    wheel(index, "words")
    packages = Packages(("greet",), "3.12", "x86_64", 36, ("words==0.9",), resolve=True)
    with pytest.raises(DctlError, match=r"words==0\.9"):
        unpacked(packages)


def test_anybody_may_read_what_is_unpacked_and_nobody_else_may_write_it(index: Path) -> None:
    wheel(index, "greet")
    folder = unpacked(asked("greet==1.0"))
    modes = {path.stat().st_mode & 0o777 for path in (folder, *folder.rglob("*"))}
    assert modes == {0o755, 0o644}


def test_wheels_for_an_older_c_library_are_taken_and_for_a_newer_are_not() -> None:
    command = pip_command(asked("greet"), Path("/w"))
    assert {"manylinux_2_36_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64"} <= set(
        command
    )
    assert "manylinux_2_37_aarch64" not in command
    assert "--no-deps" in command
