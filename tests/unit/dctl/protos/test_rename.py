"""Renaming gives the package a folder of its own and changes nothing that travels."""

from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet

from dctl.protos import rename, tools
from tests.unit.dctl.protos import workspace


def compile_set(folder: Path, scratch: Path, *names: str) -> FileDescriptorSet:
    out = scratch / "set.binpb"
    tools.protoc(["-I.", "--include_imports", f"--descriptor_set_out={out}", *names], folder=folder)
    return FileDescriptorSet.FromString(out.read_bytes())


def test_own_files_and_their_imports_move_and_foreign_ones_stay(tmp_path: Path) -> None:
    read = compile_set(workspace.write(tmp_path), tmp_path, "shop/cart/v1/service.proto")
    moved = rename.move_into(read, "shop_api")
    assert {file.name: list(file.dependency) for file in moved.file} == {
        "google/protobuf/timestamp.proto": [],
        "shop_api/shop/cart/v1/models.proto": [],
        "shop_api/shop/cart/v1/service.proto": [
            "google/protobuf/timestamp.proto",
            "shop_api/shop/cart/v1/models.proto",
        ],
    }


def test_protos_of_buf_keep_their_names() -> None:
    assert (
        rename.renamed("buf/validate/validate.proto", "shop_api") == "buf/validate/validate.proto"
    )
    assert rename.renamed("buffalo/v1/a.proto", "shop_api") == "shop_api/buffalo/v1/a.proto"


def test_packages_services_and_messages_keep_their_names(tmp_path: Path) -> None:
    read = compile_set(workspace.write(tmp_path), tmp_path, "shop/cart/v1/service.proto")
    (service,) = (f for f in rename.move_into(read, "shop_api").file if f.service)
    assert service.package == "shop.cart.v1"
    assert service.service[0].method[0].input_type == ".shop.cart.v1.AddRequest"


def test_the_set_that_was_read_is_not_touched(tmp_path: Path) -> None:
    read = compile_set(workspace.write(tmp_path), tmp_path, "shop/cart/v1/service.proto")
    before = read.SerializeToString(deterministic=True)
    rename.move_into(read, "shop_api")
    assert read.SerializeToString(deterministic=True) == before


def test_a_json_name_of_the_users_own_is_kept_and_a_default_one_dropped(tmp_path: Path) -> None:
    read = compile_set(workspace.write(tmp_path), tmp_path, "shop/cart/v1/models.proto")
    (models,) = rename.move_into(read, "shop_api").file
    item_name, price = models.message_type[0].field
    assert not item_name.HasField("json_name")
    assert price.json_name == "cents"


def test_the_default_json_name_is_the_one_that_protoc_gives(tmp_path: Path) -> None:
    names = ["plain", "two_words", "a__b", "trailing_", "with_2_digits", "mixedCase_word", "_lead"]
    fields = "".join(f"string {name} = {i};" for i, name in enumerate(names, 1))
    (tmp_path / "x.proto").write_text(f'syntax = "proto3"; message M {{ {fields} }}')
    (file,) = compile_set(tmp_path, tmp_path, "x.proto").file
    given = {field.name: field.json_name for field in file.message_type[0].field}
    assert {name: rename.default_json_name(name) for name in names} == given
