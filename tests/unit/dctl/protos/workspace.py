"""A small workspace of protos, in which the tests break things."""

from __future__ import annotations

from pathlib import Path

MODELS = """\
syntax = "proto3";

package shop.cart.v1;

// What is bought.
message Item {
  // Its name.
  string item_name = 1;

  // Its price, under a JSON name of its own.
  int64 price = 2 [json_name = "cents"];
}
"""

SERVICE = """\
syntax = "proto3";

package shop.cart.v1;

import "google/protobuf/timestamp.proto";
import "shop/cart/v1/models.proto";

// Carts.
service CartService {
  // Puts an item into a cart.
  rpc Add(AddRequest) returns (AddResponse);
}

// What to put.
message AddRequest {
  // The item.
  Item item = 1;
}

// What was put.
message AddResponse {
  // When.
  google.protobuf.Timestamp added_at = 1;
}
"""

GENERATED = [
    "shop/cart/v1/models_pb2.py",
    "shop/cart/v1/models_pb2.pyi",
    "shop/cart/v1/service_pb2.py",
    "shop/cart/v1/service_pb2.pyi",
    "shop/cart/v1/service_pb2_grpc.py",
    "shop/cart/v1/service_pb2_grpc.pyi",
]
MARKERS = [
    "__init__.py",
    "py.typed",
    "shop/__init__.py",
    "shop/cart/__init__.py",
    "shop/cart/v1/__init__.py",
]


def write(root: Path) -> Path:
    """Write `draft.yaml` and the protos; returns the folder of the protos."""
    folder = root / "api"
    cart = folder / "shop/cart/v1"
    cart.mkdir(parents=True)
    (cart / "models.proto").write_text(MODELS)
    (cart / "service.proto").write_text(SERVICE)
    (root / "draft.yaml").write_text("name: shop\napi: {package: shop_api}\n")
    return folder


def files(root: Path) -> list[str]:
    """Every file under `root`, relative and sorted."""
    return sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file())
