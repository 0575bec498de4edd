"""A cluster spec opened, before anything of it is there."""

from pathlib import Path

import pytest

from dctl.engine.cluster import OpenCluster, open_cluster
from dctl.errors import UnreachableError
from dctl.hosts.routes import INGRESS


@pytest.fixture
def absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OpenCluster:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    spec = tmp_path / "shop.yaml"
    spec.write_text("apiVersion: draft/v1\nkind: Cluster\nname: shop\n")
    return open_cluster(spec)


@pytest.mark.parametrize("part", ["blueprint", "catalyst", "fuse"])
def test_a_part_that_is_not_there_has_no_address_that_could_be_anothers(
    absent: OpenCluster, part: str
) -> None:
    with pytest.raises(UnreachableError, match=f"{part.capitalize()} of cluster shop is not there"):
        absent.way(part)


def test_without_a_fuse_there_are_no_routes(absent: OpenCluster) -> None:
    assert absent.readers[INGRESS].observe() == []
