"""`dctl export compose`: a file that docker compose takes, which says what the spec says."""

import json
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from dctl.export.compose import compose
from dctl.export.site import images_of
from dctl.export.text import to_text
from dctl.spec import Loaded, load
from dctl.spec.variant import Variant
from tests.support import compose as tool
from tests.unit.dctl.export.conftest import BLUEPRINTS, ENV, ROOT, blueprint


def exported(loaded: Loaded) -> Any:
    return compose(loaded, images_of(loaded.cluster, "registry.example.com/x", "1.2.3", "0.1.0"))


def read(loaded: Loaded, folder: Path) -> Any:
    """What docker compose makes of it."""
    file = folder / "compose.yaml"
    file.write_text(to_text(exported(loaded).documents, "head"))
    told = tool.compose(file, "config", "--no-interpolate", "--format", "json")
    return json.loads(told)


@pytest.mark.parametrize("path", BLUEPRINTS, ids=lambda path: path.stem)
def test_docker_compose_takes_what_is_made_of_each_blueprint(path: Path, tmp_path: Path) -> None:
    loaded = blueprint(path)
    services = read(loaded, tmp_path)["services"]
    assert {"nats-1", "blueprint-1", "envoy-1"} <= set(services)
    assert ("routes-1" in services) == any(
        words in path.read_text() for words in ("expose_core: true", "routes:")
    )


def test_the_database_of_crud_gets_its_password_as_a_secret(tmp_path: Path) -> None:
    path = next(path for path in BLUEPRINTS if path.stem == "crud")
    loaded = load(path, Variant(("postgres",)), env=ENV, root=ROOT)
    services = read(loaded, tmp_path)["services"]
    assert services["crud-1"]["environment"]["DB_PASSWORD_FILE"] == "/run/draft/secrets/postgres"
    assert services["postgres-1"]["secrets"][0]["source"] == "postgres"
    assert "postgres" in exported(loaded).secrets


def test_docker_compose_takes_a_bit_of_everything_and_sees_it(rich: Loaded, tmp_path: Path) -> None:
    services = read(rich, tmp_path)["services"]
    assert [name for name in services if name.startswith("cart")] == ["cart-1", "cart-2", "cart-3"]
    cart = services["cart-1"]
    assert cart["image"] == "registry.example.com/x/shop-cart:1.2.3"
    assert cart["environment"]["FLAG"] == "no"
    assert cart["environment"]["PRICE"] == "$$5"
    assert cart["environment"]["DB_URL_FILE"] == "/run/draft/secrets/db"
    assert cart["depends_on"]["postgres-1"]["condition"] == "service_healthy"
    assert cart["depends_on"]["migrate-1"]["condition"] == "service_completed_successfully"
    assert cart["networks"]["default"]["aliases"] == ["cart"]
    assert cart["mem_limit"] == "256m"
    assert cart["stop_grace_period"] == "20s"
    assert services["migrate-1"]["restart"] == "no"
    assert services["stock-1"]["volumes"][0]["target"] == "/data"
    assert services["nats-2"].get("ports") is None  # only the first has the ports of the spec
    assert services["envoy-1"]["ports"][0]["host_ip"] == "0.0.0.0"
    assert services["postgres-1"]["healthcheck"]["test"][:2] == ["CMD", "pg_isready"]


def test_no_value_of_a_secret_is_written_and_each_is_named_to_be_made(rich: Loaded) -> None:
    made = exported(rich)
    text = to_text(made.documents, "head")
    assert "hunter2" not in text
    assert "PRIVATE KEY" not in text
    assert "${MAIL_PASSWORD:?" in text
    assert set(made.secrets) == {
        "engine", "objects", "nonce", "nonce-cart", "nonce-migrate", "nonce-stock", "db",
        "etc-cart-key-pem", "$MAIL_PASSWORD",
    }  # fmt: skip


def test_what_cannot_be_said_is_told_at_its_place(rich: Loaded) -> None:
    told = [note.shown(rich).splitlines()[0] for note in exported(rich).notes]
    told = [line.replace(str(rich.path), "cluster.yaml") for line in told]
    lines = {line.split(": ")[1]: line for line in told}
    assert set(lines) == {
        "services.tool.command", "services.cart.config.mail.password", "infra.web.health",
        "services.stock.health",
    }  # fmt: skip
    tool_line = next(
        number for number, line in enumerate(rich.path.read_text().splitlines(), 1)
        if "command: [sleep" in line
    )  # fmt: skip
    assert lines["services.tool.command"].startswith(f"cluster.yaml:{tool_line}:5: ")


def test_the_routes_of_the_spec_are_declared_by_a_job(rich: Loaded) -> None:
    document = exported(rich).documents[0]
    routes = json.loads(document["configs"]["routes-1-routes.json"]["content"])
    assert [(r["name"], r["match"]["prefix"], r["service"], r["timeout"]) for r in routes] == [
        ("spec/cart/1", "/cart/", "cart", "5s")
    ]
    assert document["services"]["routes-1"]["environment"]["DRAFT_FUSE"] == "fuse-1:18000"


@pytest.mark.parametrize(
    "text",
    ["no", "017", "1_0", "~", "a: b", "- x", "on", "1e3", "", " x", "x\ny", "t:\n\ttab\n"],
)
def test_text_stays_text_in_every_version_of_yaml(text: str) -> None:
    written = to_text([{"key": text}], "")
    for version in ((1, 1), (1, 2)):
        yaml = YAML(typ="safe", pure=True)
        yaml.version = version
        assert yaml.load(written) == {"key": text}


def test_the_same_spec_gives_the_same_text(rich: Loaded) -> None:
    assert to_text(exported(rich).documents, "") == to_text(exported(rich).documents, "")
