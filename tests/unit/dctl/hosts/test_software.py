"""What programs run from on a machine, as values: named by all that is in them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dctl.errors import NotFoundError, SpecError
from dctl.hosts.systemd import SystemdReader
from dctl.hosts.systemd.environments import SoftwareReader
from dctl.hosts.systemd.software import Software, core_software, run_software

FACTS = {"python": "3.12", "machine": "x86_64", "glibc": 36}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "greeter"
    made.mkdir()
    (made / "main.py").write_text("print()\n")
    return made


def greeter(folder: Path, facts: Mapping[str, Any] = FACTS, api: Path | None = None) -> Software:
    return run_software(facts, folder, cluster="shop", service="greeter", api=api)


def test_a_change_of_code_leaves_what_it_stands_on(folder: Path) -> None:
    before = greeter(folder)
    assert before.folder
    (folder / "main.py").write_text("print(1)\n")
    after = greeter(folder)
    assert after.folder != before.folder
    assert after.chain()[:-1] == before.chain()[:-1]


def test_the_same_content_has_the_same_name_wherever_it_is(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere"
    other.mkdir()
    (other / "main.py").write_bytes((folder / "main.py").read_bytes())
    assert greeter(other).folder == greeter(folder).folder


def test_a_change_of_requirements_leaves_the_chassis(folder: Path) -> None:
    plain = greeter(folder)
    (folder / "requirements.txt").write_text("httpx==0.28.1\n")
    more = greeter(folder)
    assert [one.title for one in more.chain()] == ["chassis", "shop/greeter/packages",
                                                   "shop/greeter"]  # fmt: skip
    assert more.chain()[0] == plain.chain()[0]
    assert more.folder != plain.folder


def test_another_python_or_machine_is_another_software(folder: Path) -> None:
    names = {
        greeter(folder, {**FACTS, **other}).folder
        for other in ({}, {"python": "3.11"}, {"machine": "aarch64"}, {"glibc": 31})
    }
    assert len(names) == 4


def test_the_workspaces_package_is_importable(folder: Path, tmp_path: Path) -> None:
    api = tmp_path / "shop_api"
    api.mkdir()
    (api / "__init__.py").write_text("")
    assert "lib/shop_api/__init__.py" in greeter(folder, api=api).files


def test_a_folder_without_a_main_is_told(folder: Path) -> None:
    (folder / "main.py").unlink()
    with pytest.raises(NotFoundError, match=r"no main\.py"):
        greeter(folder)


def test_a_requirement_that_is_no_package_is_told_with_its_line(folder: Path) -> None:
    (folder / "requirements.txt").write_text("httpx\n-e ../lib\n")
    with pytest.raises(SpecError, match=r"requirements\.txt:2"):
        greeter(folder)


def test_the_core_runs_from_one_folder() -> None:
    core = core_software(FACTS)
    assert core.chain() == (core,)
    assert "lib/draft_services/blueprint/__main__.py" in core.files
    assert "bin/envoy" in core.files


def test_it_is_there_when_all_that_it_stands_on_is(folder: Path) -> None:
    software = greeter(folder)
    names = [one.digest for one in software.chain()]
    for there, found in ((names, 1), (names[1:], 0), (names[:-1], 0)):
        machine = SimpleNamespace(name="core-1", facts=lambda there=there: {"environments": there})
        reader = SoftwareReader("shop", cast(SystemdReader, machine), lambda: {"greeter": software})
        assert len(reader.observe()) == found
