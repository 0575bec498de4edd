"""A spec of several files: what bounds them, and what they leave alone."""

from pathlib import Path

import pytest

from dctl.errors import SpecError
from dctl.spec import load
from dctl.spec.variant import Variant

HEAD = "apiVersion: draft/v1\nkind: Cluster\nname: shop\n"


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder / "cluster.yaml"


def problems(spec: Path, *environments: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        load(spec, Variant(environments), env={})
    return [
        problem.splitlines()[0].replace(f"{spec.parent}/", "") for problem in caught.value.problems
    ]


def test_the_limit_of_size_is_for_all_files_together(tmp_path: Path) -> None:
    half = "x-text: |\n" + "  text\n" * 100_000
    spec = write(tmp_path, cluster=f"{HEAD}include: [a.yaml, b.yaml]\n", a=half, b=half)
    assert problems(spec) == ["b.yaml:1:1: is larger than 1 MiB, together with the files before it"]


def test_the_limit_of_values_is_for_all_files_together(tmp_path: Path) -> None:
    many = "x-list: [" + "1, " * 60_000 + "1]\n"
    spec = write(tmp_path, cluster=f"{HEAD}include: [a.yaml, b.yaml]\n", a=many, b=many)
    (problem,) = problems(spec)
    assert problem.startswith("b.yaml:1:")
    assert problem.endswith("the spec unfolds to more than 100000 values")


def test_an_overlay_is_bounded_with_the_rest(tmp_path: Path) -> None:
    bomb = "x-a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
        f"x-{this}: &{this} [{', '.join([f'*{last}'] * 10)}]\n"
        for last, this in zip("abcde", "bcdef", strict=True)
    )
    spec = write(tmp_path, cluster=HEAD, **{"cluster.prod": bomb})
    (problem,) = problems(spec, "prod")
    assert problem.startswith("cluster.prod.yaml:5:")
    assert "unfolds" in problem


def test_the_name_of_an_included_file_is_interpolated_once(tmp_path: Path) -> None:
    part = {"${A}": "services: {one: {command: a}}\n"}
    spec = write(tmp_path, cluster=f"{HEAD}include: $${{A}}.yaml\n", **part)
    assert list(load(spec, env={}).cluster.services) == ["one"]


def test_a_spec_has_at_most_a_hundred_files(tmp_path: Path) -> None:
    names = [f"part{number}" for number in range(100)]
    items = "".join(f"  - {name}.yaml\n" for name in names)
    spec = write(tmp_path, cluster=f"{HEAD}include:\n{items}", **dict.fromkeys(names, "x-a: 1\n"))
    assert problems(spec) == [
        "cluster.yaml:104:5: include[99]: is one file too many: 100 is the most"
    ]


def test_a_file_that_many_include_is_read_and_added_once(tmp_path: Path) -> None:
    chain = {
        f"{side}{level}": f"include: [a{level + 1}.yaml, b{level + 1}.yaml]\n"
        for level in range(30)
        for side in "ab"
    }
    ends = {"a30": "services: {one: {command: a}}\n", "b30": "services: {two: {command: b}}\n"}
    spec = write(tmp_path, cluster=f"{HEAD}include: a0.yaml\n", **chain, **ends)

    loaded = load(spec, env={})

    assert sorted(loaded.cluster.services) == ["one", "two"]
    assert len(loaded.files) == len(set(loaded.files)) == 62
    assert loaded.files[0] == spec


def test_what_two_places_share_by_an_alias_is_overlaid_in_one_of_them_only(tmp_path: Path) -> None:
    base = HEAD + "services:\n  one: &one {command: a, env: {A: a}}\n  two: *one\n"
    over = "services: {one: {env: {A: b}, replicas: 2}}\n"
    services = load(
        write(tmp_path, cluster=base, **{"cluster.prod": over}), Variant(("prod",))
    ).cluster.services

    assert (services["one"].env, services["one"].replicas) == ({"A": "b"}, 2)
    assert (services["two"].env, services["two"].replicas) == ({"A": "a"}, 1)


def test_an_overlay_has_the_spec_s_own_name_and_ending(tmp_path: Path) -> None:
    (tmp_path / "local.yml").write_text(HEAD)
    (tmp_path / "local.prod.yml").write_text("name: shop-prod\n")
    assert load(tmp_path / "local.yml", Variant(("prod",))).cluster.name == "shop-prod"


def test_paths_of_an_included_file_start_at_its_folder_and_run_at_the_workspace(
    tmp_path: Path,
) -> None:
    (tmp_path / "clusters/parts").mkdir(parents=True)
    (tmp_path / "services/cart").mkdir(parents=True)
    (tmp_path / "services/cart/main.py").touch()
    (tmp_path / "rules.yaml").touch()
    (tmp_path / "clusters/parts/rules.yaml").touch()
    service = "{run: services/cart, files: {/etc/rules: rules.yaml}}"
    spec = write(
        tmp_path / "clusters",
        cluster=f"{HEAD}include: parts/a.yaml\nservices: {{one: {service}}}\n",
    )
    write(tmp_path / "clusters/parts", a=f"services: {{two: {service}}}\n")

    services = load(spec, env={}, root=tmp_path).cluster.services

    assert services["one"].files == {"/etc/rules": "rules.yaml"}
    assert services["two"].files == {"/etc/rules": "clusters/parts/rules.yaml"}
    assert services["two"].run == "services/cart"
