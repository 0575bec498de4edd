"""Which services are meant, and what has to be there for them."""

import pytest

from dctl.dev.choose import choose, needed, split
from dctl.errors import NotFoundError
from dctl.spec import Cluster


def cluster(**services: object) -> Cluster:
    return Cluster.model_validate(
        {
            "apiVersion": "draft/v1",
            "kind": "Cluster",
            "name": "shop",
            "core": {"catalyst": False},
            "infra": {"redis": {"from": "redis"}},
            "services": services,
        }
    )


SHOP = cluster(
    orders={"run": "services/shop/orders", "depends_on": {"stock": "healthy"}},
    stock={"run": "services/shop/stock", "depends_on": {"sweep": "started"}},
    bills={"run": "services/billing/eu/bills", "depends_on": {"blueprint": "healthy"}},
    sweep={"command": "sleep 1"},
    odd={"run": "tools/odd"},
)


@pytest.mark.parametrize(
    ("services", "domains", "chosen"),
    [
        ([], [], ["orders", "stock", "bills", "odd"]),
        (["orders"], [], ["orders"]),
        (["shop/orders", "bills"], [], ["orders", "bills"]),
        (["tools/odd"], [], ["odd"]),
        (["shop/*"], [], ["orders", "stock"]),
        ([], ["shop"], ["orders", "stock"]),
        ([], ["billing"], ["bills"]),
        ([], ["billing/eu"], ["bills"]),
        (["odd"], ["shop"], ["orders", "stock", "odd"]),
    ],
)
def test_services_are_chosen_by_name_by_folder_and_by_domain(
    services: list[str], domains: list[str], chosen: list[str]
) -> None:
    assert choose(SHOP, services, domains) == chosen


@pytest.mark.parametrize(
    ("services", "domains", "words"),
    [
        (["ordres"], [], 'no service "ordres" to run; did you mean "orders"'),
        (["sweep"], [], 'no service "sweep"'),
        ([], ["shup"], 'no domain "shup" to run; did you mean "shop"'),
    ],
)
def test_what_selects_nothing_is_told_with_what_there_is(
    services: list[str], domains: list[str], words: str
) -> None:
    with pytest.raises(NotFoundError, match=words) as caught:
        choose(SHOP, services, domains)
    assert caught.value.hint.startswith("there are: ")


def test_a_spec_without_services_from_folders_says_how_to_make_one() -> None:
    with pytest.raises(NotFoundError) as caught:
        choose(cluster(sweep={"command": "sleep 1"}), [], [])
    assert "dctl service new" in caught.value.hint


def test_core_backing_and_what_is_depended_on_have_to_be_there_but_none_that_is_chosen() -> None:
    base = ["nats", "blueprint", "fuse", "envoy", "redis"]
    assert needed(SHOP, ["orders"]) == [*base, "stock", "sweep"]
    assert needed(SHOP, ["orders", "stock"]) == [*base, "sweep"]
    assert needed(SHOP, ["bills"]) == base


def test_names_may_be_one_word() -> None:
    assert split(["shop,examples", "a"]) == ["shop", "examples", "a"]
