"""A proto and a service to begin with: they keep every rule, and work."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from dctl.errors import ExitCode
from dctl.scaffold.proto import new_proto
from dctl.scaffold.spec import flow, with_service
from tests.unit.dctl.commands.conftest import Dctl

SPEC = """\
# ours
apiVersion: draft/v1
kind: Cluster
name: shop

core:
    nats: {max_store: 64M}   # small
    envoy:
        listen: "0.0.0.0:10000"

inventory:
  - a.yaml

services:
    cart:       # the first
        run: services/cart
        routes:
          - {prefix: /cart/}
    # the end of the services
x-last: 1
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dctl: Dctl) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    root = tmp_path / "shop"
    root.mkdir()
    monkeypatch.chdir(root)
    assert dctl("context", "init", "--name", "shop", "--repo", "x.org/shop").code == 0
    return root


def test_a_new_proto_keeps_every_rule_and_is_generated(shop: Path, dctl: Dctl) -> None:
    done = dctl("api", "new", "orders.v1")
    assert done.out == "api/shop/orders/v1/orders.proto\n"
    assert dctl("api", "lint").code == ExitCode.OK
    assert dctl("api", "format", "--check").code == ExitCode.OK
    assert dctl("api", "build").code == ExitCode.OK
    assert (shop / "api/gen/shop_api/shop/orders/v1/orders_pb2_grpc.pyi").is_file()
    again = dctl("api", "new", "orders.v1")
    assert again.code == ExitCode.ERROR
    assert "is there already" in again.err


def test_a_workspace_without_protos_begins_with_them(shop: Path, dctl: Dctl) -> None:
    (shop / "draft.yaml").write_text("name: my-shop\ncluster: cluster.yaml")
    (shop / "api/buf.yaml").unlink()
    assert "dctl api init" in dctl("api", "build").err
    done = dctl("api", "init")
    assert done.code == ExitCode.OK
    assert "grpcio-tools" in done.err
    assert dctl("api", "new", "orders.v1").out == "api/my_shop/orders/v1/orders.proto\n"
    assert "COMMENTS" in (shop / "api/buf.yaml").read_text()
    assert dctl("api", "build").code == ExitCode.OK
    assert (shop / "api/gen/my_shop_api/py.typed").is_file()


def test_the_protos_are_told_as_a_page_and_as_descriptors(shop: Path, dctl: Dctl) -> None:
    dctl("api", "new", "orders.v1")
    page = dctl("api", "docs").out
    assert page.startswith("# Protos of shop\n")
    assert "## shop.orders.v1\n\n### OrdersService\n" in page
    assert "| `Watch` | WatchRequest | stream WatchResponse | Tells of each order that" in page
    assert "| `item` | 1 | string | What it is of. |" in page
    assert dctl("api", "docs", "--out", "docs/api.md").out == "docs/api.md\n"
    assert (shop / "docs/api.md").read_text() == page
    assert dctl("api", "descriptor").out == ".draft/shop.binpb\n"
    found = FileDescriptorSet.FromString((shop / ".draft/shop.binpb").read_bytes())
    assert [file.name for file in found.file] == ["shop/orders/v1/orders.proto"]


@pytest.mark.parametrize("name", ["orders", "v1", "Orders.v1", "import.v1", "a..v1", "a-b.v1", ""])
def test_what_is_no_package_is_refused(shop: Path, dctl: Dctl, name: str) -> None:
    assert dctl("api", "new", name).code == ExitCode.USAGE
    assert not (shop / "api/shop").exists()


def test_the_workspaces_own_package_is_not_said_twice() -> None:
    assert new_proto("shop", "shop.orders.v2").path == "shop/orders/v2/orders.proto"
    assert new_proto("shop", "billing.invoices.v1").package == "shop.billing.invoices.v1"


def test_build_refuses_what_breaks_a_rule_or_the_baseline_before_it_writes(
    shop: Path, dctl: Dctl
) -> None:
    dctl("api", "new", "orders.v1")
    proto = shop / "api/shop/orders/v1/orders.proto"
    text = proto.read_text()
    proto.write_text(text.replace("string item = 1;", "string itemId = 1;", 1))
    done = dctl("api", "build")
    assert done.code == ExitCode.BAD_SPEC
    assert "api/shop/orders/v1/orders.proto:17:10: " in done.err
    assert not (shop / "api/gen").exists()
    assert dctl("api", "build", "--unchecked").code == ExitCode.OK
    proto.write_text(text)
    assert dctl("api", "build").code == ExitCode.OK
    assert dctl("api", "breaking", "--update").code == ExitCode.OK
    proto.write_text(text.replace("string item = 2;", "string item = 3;"))
    assert dctl("api", "build").code == ExitCode.BAD_SPEC


def test_a_new_service_implements_the_proto_of_its_name_and_passes_its_own_test(
    shop: Path, dctl: Dctl
) -> None:
    dctl("api", "new", "orders.v1")
    dctl("api", "build")
    assert dctl("service", "new", "orders").code == ExitCode.OK
    assert "rpc.OrdersServiceServicer" in (shop / "services/shop/orders/main.py").read_text()
    assert "run: services/shop/orders\n" in dctl("config").out
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "services"],
        env={"PYTHONPATH": "api/gen", "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "1 passed" in done.stdout, done.stdout


def test_a_service_implements_every_kind_of_call_and_messages_of_other_files(
    shop: Path, dctl: Dctl
) -> None:
    folder = shop / "api/shop/cart/v1"
    folder.mkdir(parents=True)
    (folder / "models.proto").write_text(
        'syntax = "proto3"; package shop.cart.v1; message Item { string name = 1; }'
    )
    (folder / "cart.proto").write_text(
        """syntax = "proto3"; package shop.cart.v1;
        import "google/protobuf/empty.proto"; import "shop/cart/v1/models.proto";
        import "core/registry/key_value/v1/models.proto";
        service Cart {
          rpc Both(stream Item) returns (stream Item);
          rpc Up(stream Item) returns (google.protobuf.Empty);
          rpc Keep(core.registry.key_value.v1.Value) returns (core.registry.key_value.v1.Value);
        }"""
    )
    assert dctl("api", "build", "--unchecked").code == ExitCode.OK
    assert dctl("service", "new", "cart").code == ExitCode.OK
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "services"],
        env={"PYTHONPATH": "api/gen", "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "1 passed" in done.stdout, done.stdout
    text = (shop / "services/shop/cart/main.py").read_text()
    assert "async for request in requests:\n            yield" in text
    assert "return empty_pb2.Empty()" in text


def test_a_service_without_a_proto_begins_bare_and_a_domain_is_a_folder(
    shop: Path, dctl: Dctl
) -> None:
    done = dctl("service", "new", "billing/invoices")
    assert done.code == ExitCode.OK
    assert "dctl api new invoices.v1" in done.err
    assert (shop / "services/billing/invoices/test_invoices.py").is_file()


@pytest.mark.parametrize("name", ["nats", "orders", "Orders", "a/../b", "/orders"])
def test_a_name_that_is_taken_or_none_is_refused_and_nothing_changes(
    shop: Path, dctl: Dctl, name: str
) -> None:
    dctl("service", "new", "billing/orders")
    before = (shop / "cluster.yaml").read_text()
    assert dctl("service", "new", name).code in (ExitCode.ERROR, ExitCode.USAGE)
    assert (shop / "cluster.yaml").read_text() == before
    assert not (shop / "services/shop").exists()


def test_a_spec_that_does_not_hold_is_told_first(shop: Path, dctl: Dctl) -> None:
    (shop / "cluster.yaml").write_text("apiVersion: draft/v1\nkind: Cluster\nname: shop\nx: 1\n")
    done = dctl("service", "new", "orders")
    assert done.code == ExitCode.BAD_SPEC
    assert "cluster.yaml:4:1" in done.err
    assert not (shop / "services").exists()


def test_a_service_more_leaves_all_else_in_the_spec_as_it_was() -> None:
    after = with_service(SPEC, "orders", {"run": "services/o", "depends_on": flow({"b": "c"})})
    added = "    orders:\n        run: services/o\n        depends_on: {b: c}\n"
    assert added in after
    assert after.replace(added, "") == SPEC


_READ_ONLY = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && cd "$0" && exec "$@"'


@pytest.mark.parametrize(
    "argv",
    [
        ("api", "new", "orders.v1"),
        ("api", "build"),
        ("service", "new", "orders"),
        ("context", "init", "--name", "shop", "--repo", "x.org/y"),
    ],
)
def test_a_folder_that_cannot_be_written_is_named_and_nothing_else_is_said(
    tmp_path: Path, shop: Path, dctl: Dctl, argv: tuple[str, ...]
) -> None:
    if argv[1] == "build":
        dctl("api", "new", "carts.v1")
    if argv[1] == "init":
        shop = tmp_path / "empty"
        shop.mkdir()
    try_it = ["unshare", "-rm", "sh", "-c", _READ_ONLY, str(shop)]
    if not shutil.which("unshare") or subprocess.run([*try_it, "true"], check=False).returncode:
        pytest.skip("no mount namespace can be had here (unshare -rm): no folder can be read-only")
    done = subprocess.run(
        [*try_it, sys.executable, "-m", "dctl", *argv],
        env={**os.environ, "XDG_CONFIG_HOME": str(tmp_path / "config2")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == ExitCode.ERROR
    assert done.stdout == ""
    error = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "Read-only file system" in error[0]
    assert "Traceback" not in done.stderr
    assert "internal error" not in done.stderr
