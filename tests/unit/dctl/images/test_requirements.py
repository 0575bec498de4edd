"""Which packages, in which versions, an image gets."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest

from dctl.errors import SpecError
from dctl.images import Base
from dctl.images.requirements import of_service, pins

HERE = Base("x", "3.12", "x86_64", 36).environment()


def test_pins_are_the_versions_that_run_here_with_all_that_they_need() -> None:
    found = pins([], HERE)
    for name in ("grpcio", "pydantic", "pydantic-core", "typing-extensions"):
        assert f"{name}=={metadata.version(name)}" in found
    assert found == tuple(sorted(found))


def test_an_extra_adds_its_packages_and_those_of_their_extras() -> None:
    added = {pin.partition("==")[0] for pin in set(pins(["core"], HERE)) - set(pins([], HERE))}
    assert {"nats-py", "pyjwt", "cryptography"} <= added
    assert not added & {"click", "textual", "pytest"}


def test_markers_are_read_for_the_python_of_the_image_and_not_for_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "draft-9.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: draft\nVersion: 9\n"
        'Requires-Dist: only-before-312 >=2; python_version < "3.12"\n'
        'Requires-Dist: only-on-windows; sys_platform == "win32"\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert pins([], HERE) == ()
    older = Base("x", "3.11", "x86_64", 36).environment()
    assert pins([], older) == ("only-before-312>=2",)


def test_draft_itself_is_not_looked_for_on_an_index() -> None:
    text = "draft[core]>=0.1\nDRAFT\nhttpx==0.28.1  # for the shop\n\n# draft\ndraftsman==1\n"
    assert of_service(text, "r.txt") == ("httpx==0.28.1", "draftsman==1")


def test_options_of_an_index_and_continued_lines_are_kept() -> None:
    text = "--extra-index-url https://pip.example/simple\nhttpx==0.28.1 \\\n  --hash=sha256:ab\n"
    assert of_service(text, "r.txt") == (
        "--extra-index-url https://pip.example/simple",
        "httpx==0.28.1    --hash=sha256:ab",
    )


@pytest.mark.parametrize("line", ["-r base.txt", "-e .", "./lib", "--constraint c.txt", "/opt/x"])
def test_a_requirement_that_only_this_machine_has_is_refused_with_its_line(line: str) -> None:
    with pytest.raises(SpecError, match=r"^shop/requirements\.txt:2: "):
        of_service(f"httpx\n{line}\n", "shop/requirements.txt")
