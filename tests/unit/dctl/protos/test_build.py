"""The generated package is exactly what the protos give, and nothing else is touched."""

import subprocess
import sys
from pathlib import Path

import pytest

from dctl.errors import NotFoundError, SpecError
from dctl.protos import tools
from dctl.protos.build import BuildResult, build, clean
from tests.unit.dctl.protos import workspace


class Shop:
    """The small workspace, and how it is built."""

    def __init__(self, root: Path) -> None:
        self.folder = workspace.write(root)
        self.cart = self.folder / "shop/cart/v1"
        self.out = self.folder / "gen"
        self.target = self.out / "shop_api"
        self.stamp = root / ".draft/stamp"

    def build(self, *, check: bool = False) -> BuildResult:
        return build(self.folder, self.out, "shop_api", stamp_file=self.stamp, check=check)

    def clean(self) -> tuple[str, ...]:
        return clean(self.out, "shop_api", stamp_file=self.stamp)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


@pytest.fixture
def no_tools(monkeypatch: pytest.MonkeyPatch):
    """Call it to forbid protoc from then on."""

    def forbid() -> None:
        def refuse(*_: object, **__: object) -> None:
            pytest.fail("protoc ran")

        monkeypatch.setattr(tools, "protoc", refuse)

    return forbid


def python(code: str, path: Path) -> str:
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(path)!r})\n{code}"]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def test_a_first_build_writes_the_whole_package(shop: Shop) -> None:
    result = shop.build()
    assert list(result.written) == sorted(workspace.GENERATED + workspace.MARKERS)
    assert (result.protos, result.removed, result.unchanged) == (2, (), 0)
    assert workspace.files(shop.target) == list(result.written)


def test_the_package_is_imported_under_its_own_name_and_speaks_the_protos(shop: Shop) -> None:
    shop.build()
    said = python(
        "from shop_api.shop.cart.v1 import models_pb2, service_pb2, service_pb2_grpc\n"
        "assert service_pb2.AddRequest(item=models_pb2.Item(item_name='tea')).item.item_name\n"
        "assert service_pb2_grpc.CartServiceStub\n"
        "print(service_pb2.DESCRIPTOR.services_by_name['CartService'].full_name)",
        shop.out,
    )
    assert said == "shop.cart.v1.CartService\n"


def test_rpcs_are_typed(shop: Shop) -> None:
    shop.build()
    stub = (shop.target / "shop/cart/v1/service_pb2_grpc.pyi").read_text()
    assert "UnaryUnaryMultiCallable[_service_pb2.AddRequest, _service_pb2.AddResponse]" in stub
    assert "Puts an item into a cart." in stub


def test_the_code_is_what_protoc_gives_for_protos_that_lie_in_the_package(
    shop: Shop, tmp_path: Path
) -> None:
    """So a second copy of a proto, built in the plain way, is the same to protobuf's pool."""
    shop.build()
    plain = tmp_path / "plain"
    for name in ("models", "service"):
        file = plain / f"shop_api/shop/cart/v1/{name}.proto"
        file.parent.mkdir(parents=True, exist_ok=True)
        text = (shop.cart / f"{name}.proto").read_text()
        file.write_text(text.replace('import "shop/', 'import "shop_api/shop/'))
    for name in ("models", "service"):
        tools.protoc(["-I.", "--python_out=.", f"shop_api/shop/cart/v1/{name}.proto"], folder=plain)
        made = f"shop/cart/v1/{name}_pb2.py"
        assert (shop.target / made).read_bytes() == (plain / "shop_api" / made).read_bytes()


def test_an_unchanged_build_runs_no_tool(shop: Shop, no_tools) -> None:
    shop.build()
    no_tools()
    result = shop.build()
    assert result.fresh
    assert result.unchanged == len(workspace.GENERATED)


def test_without_a_stamp_the_result_is_the_same(shop: Shop) -> None:
    shop.build()
    shop.stamp.write_text("not a stamp")
    assert shop.build().fresh
    shop.stamp.unlink()
    assert shop.build().fresh


def test_only_what_changed_is_written(shop: Shop) -> None:
    shop.build()
    (shop.cart / "models.proto").write_text(workspace.MODELS + "\nmessage Extra {}\n")
    result = shop.build()
    assert list(result.written) == ["shop/cart/v1/models_pb2.py", "shop/cart/v1/models_pb2.pyi"]
    assert result.unchanged == 4


def test_another_version_of_a_tool_builds_anew(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, no_tools
) -> None:
    shop.build()
    monkeypatch.setattr(tools, "versions", lambda: {"grpcio-tools": "99"})
    no_tools()
    with pytest.raises(pytest.fail.Exception, match="protoc ran"):
        shop.build()


def test_check_names_a_stale_file_and_writes_nothing(shop: Shop) -> None:
    shop.build()
    (shop.cart / "models.proto").write_text(workspace.MODELS + "\nmessage Extra {}\n")
    before = (shop.target / "shop/cart/v1/models_pb2.py").read_bytes()
    for _ in range(2):
        result = shop.build(check=True)
        assert result.written[0] == "shop/cart/v1/models_pb2.py"
    assert (shop.target / "shop/cart/v1/models_pb2.py").read_bytes() == before


def test_check_names_every_missing_file(shop: Shop) -> None:
    shop.build()
    missing = ("py.typed", "shop/__init__.py", "shop/cart/v1/service_pb2_grpc.pyi")
    for name in missing:
        (shop.target / name).unlink()
    assert shop.build(check=True).written == missing


def test_a_lost_marker_is_noticed_in_spite_of_the_stamp(shop: Shop) -> None:
    shop.build()
    (shop.target / "py.typed").unlink()
    assert shop.build().written == ("py.typed",)


def test_check_names_a_file_that_was_edited_by_hand_and_a_build_mends_it(shop: Shop) -> None:
    shop.build()
    edited = shop.target / "shop/cart/v1/service_pb2.pyi"
    edited.write_text(edited.read_text() + "x: int\n")
    assert shop.build(check=True).written == ("shop/cart/v1/service_pb2.pyi",)
    shop.build()
    assert shop.build(check=True).fresh


def test_what_no_proto_gives_any_more_goes_with_its_folder(shop: Shop) -> None:
    old = shop.folder / "shop/old/v1/service.proto"
    old.parent.mkdir(parents=True)
    old.write_text('syntax = "proto3"; package shop.old.v1; message Old {}')
    shop.build()
    old.unlink()
    assert shop.build(check=True).removed == (
        "shop/old/v1/service_pb2.py",
        "shop/old/v1/service_pb2.pyi",
    )
    shop.build()
    assert workspace.files(shop.target) == sorted(workspace.GENERATED + workspace.MARKERS)
    assert not (shop.target / "shop/old").exists()


def test_the_users_own_files_in_the_package_are_kept(shop: Shop) -> None:
    shop.build()
    mine = {"shop/cart/helpers.py": "A = 1\n", "shop/__init__.py": "from typing import Any\n"}
    for name, text in mine.items():
        (shop.target / name).write_text(text)
    assert shop.build().fresh
    shop.clean()
    assert {n: (shop.target / n).read_text() for n in mine} == mine
    assert not (shop.target / "shop/cart/v1").exists()


def test_clean_leaves_nothing(shop: Shop) -> None:
    shop.build()
    assert list(shop.clean()) == workspace.GENERATED
    assert not shop.target.exists()
    assert not shop.stamp.exists()
    assert shop.clean() == ()


def test_every_problem_of_a_proto_has_its_place_and_nothing_is_written(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    shop.build()
    before = {name: (shop.target / name).read_bytes() for name in workspace.files(shop.target)}
    wrong = workspace.SERVICE.replace("  Item item = 1;", "  Itm item = 1;\n  string x = 1;")
    (shop.cart / "service.proto").write_text(wrong)
    with pytest.raises(SpecError) as caught:
        shop.build()
    first, second = caught.value.problems
    assert first.startswith('api/shop/cart/v1/service.proto:17:3: "Itm" is not defined.\n')
    assert first.endswith("  17 |   Itm item = 1;\n     |   ^")
    assert second.startswith("api/shop/cart/v1/service.proto:18:14: Field number 1 has already")
    assert {n: (shop.target / n).read_bytes() for n in workspace.files(shop.target)} == before


def test_an_import_of_nothing_is_reported_where_it_stands(shop: Shop) -> None:
    wrong = workspace.SERVICE.replace("v1/models.proto", "v1/modles.proto")
    (shop.cart / "service.proto").write_text(wrong)
    with pytest.raises(SpecError) as caught:
        shop.build()
    assert "service.proto:6:1: Import" in caught.value.problems[0]
    assert not any("modles.proto:1:1" in problem for problem in caught.value.problems)


def test_no_protos_at_all_is_an_error_that_says_where(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=str(tmp_path)):
        build(tmp_path, tmp_path / "gen", "shop_api")


def test_a_vendored_proto_of_buf_is_used_and_not_generated(shop: Shop) -> None:
    vendored = shop.folder / "buf/validate/validate.proto"
    vendored.parent.mkdir(parents=True)
    vendored.write_text('syntax = "proto3"; package buf.validate; message Rule {}')
    user = workspace.MODELS.replace("// What", 'import "buf/validate/validate.proto";\n\n// What')
    user = user.replace("  // Its name.", "  buf.validate.Rule rule = 9;\n  // Its name.")
    (shop.cart / "models.proto").write_text(user)
    result = shop.build()
    assert not any("buf/" in name for name in result.written)
    code = (shop.target / "shop/cart/v1/models_pb2.py").read_text()
    assert "from buf.validate import validate_pb2" in code


def test_a_tool_that_is_not_installed_is_named_with_the_way_to_install_it(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tools, "_GENERATORS", ("no-such-generator",))
    with pytest.raises(NotFoundError, match="no-such-generator") as caught:
        shop.build()
    assert "draft[api]" in caught.value.hint


def test_a_failure_of_protoc_itself_is_told_in_its_words(tmp_path: Path) -> None:
    from dctl.errors import DctlError

    with pytest.raises(DctlError, match="--no_such_flag"):
        tools.protoc(["--no_such_flag"], folder=tmp_path)
