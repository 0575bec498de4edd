"""The generated package is exactly what the protos give, and nothing else is touched."""

import functools
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dctl.errors import NotFoundError, SpecError
from dctl.protos import tools
from dctl.protos.build import BuildResult, build, clean
from dctl.protos.check import breaking, lint, update_baseline
from tests.unit.dctl.protos import workspace

FRAMEWORKS = "core/registry/key_value/v1/models.proto"


class Shop:
    """The small workspace, and how it is built."""

    def __init__(self, root: Path) -> None:
        self.folder = workspace.write(root)
        self.cart = self.folder / "shop/cart/v1"
        self.out = self.folder / "gen"
        self.target = self.out / "shop_api"
        self.stamp = root / ".draft/stamp"

    def build(self, *, check: bool = False, force: bool = False) -> BuildResult:
        return build(
            self.folder, self.out, "shop_api", stamp_file=self.stamp, check=check, force=force
        )

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


def test_what_was_edited_by_hand_is_named_and_shown_and_only_force_overwrites_it(
    shop: Shop,
) -> None:
    shop.build()
    edited = shop.target / "shop/cart/v1/service_pb2.pyi"
    mine = edited.read_text() + "x: int\n"
    edited.write_text(mine)
    assert shop.build(check=True).written == ("shop/cart/v1/service_pb2.pyi",)
    (shop.cart / "models.proto").write_text(workspace.MODELS + "\nmessage Extra {}\n")
    (diff,) = shop.build().edited.values()
    assert "+x: int\n" in diff
    assert edited.read_text() == mine
    assert "Extra" not in (shop.target / "shop/cart/v1/models_pb2.pyi").read_text()
    shop.build(force=True)
    assert shop.build(check=True).fresh


def test_a_generated_file_of_another_checkout_is_not_taken_for_an_edited_one(shop: Shop) -> None:
    """As after a change of branches, where protos and package change together."""
    shop.build()
    there = {name: (shop.target / name).read_bytes() for name in workspace.files(shop.target)}
    (shop.cart / "models.proto").write_text(workspace.MODELS + "\nmessage Extra {}\n")
    shop.build()
    (shop.cart / "models.proto").write_text(workspace.MODELS)
    for name, content in there.items():
        (shop.target / name).write_bytes(content)
    assert shop.build().fresh


def test_what_is_not_well_is_not_generated(shop: Shop) -> None:
    def refuse() -> None:
        raise SpecError("no")

    with pytest.raises(SpecError):
        build(shop.folder, shop.out, "shop_api", stamp_file=shop.stamp, before=refuse)
    assert not shop.target.exists()


def test_of_several_builds_at_once_one_generates_and_the_others_find_nothing_to_do(
    shop: Shop,
) -> None:
    generating: list[int] = []

    def at_once(number: int) -> BuildResult:
        begun = functools.partial(generating.append, number)
        return build(shop.folder, shop.out, "shop_api", stamp_file=shop.stamp, before=begun)

    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(at_once, range(3)))
    assert sorted(result.fresh for result in results) == [False, True, True]
    assert len(generating) == 1
    assert shop.build(check=True).fresh


def test_the_frameworks_protos_are_imported_and_their_code_is_not_generated_again(
    shop: Shop, tmp_path: Path
) -> None:
    text = workspace.MODELS.replace("// What", f'import "{FRAMEWORKS}";\n\n// What', 1)
    text = text.replace(
        "  // Its name.", "  core.registry.key_value.v1.Value v = 9;\n  // Its name."
    )
    (shop.cart / "models.proto").write_text(text)
    result = shop.build()
    assert not any("core/" in name for name in result.written)
    code = (shop.target / "shop/cart/v1/models_pb2.py").read_text()
    assert "from draft_api.core.registry.key_value.v1 import models_pb2" in code
    said = python(
        "from draft_api.core.registry.key_value.v1 import service_pb2\n"
        "from shop_api.shop.cart.v1 import models_pb2\n"
        "print(models_pb2.Item(v={'data': 'x'}).v.data)",
        shop.out,
    )
    assert said == "x\n"


def test_rules_and_breaking_changes_are_told_of_protos_that_import_the_frameworks(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    text = workspace.MODELS.replace("// What", f'import "{FRAMEWORKS}";\n\n// What', 1)
    text += "\n// It.\nmessage It {\n  // Its.\n  core.registry.key_value.v1.Value v = 1;\n}\n"
    (shop.cart / "models.proto").write_text(text)
    (shop.folder / "buf.yaml").write_text(
        "version: v2\nlint: {use: [STANDARD], ignore: [shop/old]}\nbreaking: {use: [FILE]}\n"
    )
    old = shop.folder / "shop/old/v1/a.proto"
    old.parent.mkdir(parents=True)
    old.write_text('syntax = "proto3"; package shop.old.v1; message bad_name {}')
    lint(shop.folder)
    update_baseline(shop.folder)
    breaking(shop.folder)
    (shop.cart / "models.proto").write_text(text.replace("Value v = 1", "Value v_Bad = 2"))
    with pytest.raises(SpecError) as caught:
        lint(shop.folder)
    assert caught.value.problems[0].startswith("api/shop/cart/v1/models.proto:19:36: Field name")
    with pytest.raises(SpecError) as caught:
        breaking(shop.folder)
    assert "api/shop/cart/v1/models.proto:" in caught.value.problems[0]


def test_a_proto_of_the_frameworks_name_is_refused_where_it_is(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    own = shop.folder / FRAMEWORKS
    own.parent.mkdir(parents=True)
    own.write_text('syntax = "proto3"; package core.registry.key_value.v1;')
    with pytest.raises(SpecError) as caught:
        shop.build()
    assert caught.value.problems[0].startswith(f"api/{FRAMEWORKS}:1:1: the framework has a proto")


def test_two_protos_of_one_module_are_refused(shop: Shop) -> None:
    (shop.cart / "the-models.proto").write_text('syntax = "proto3"; package shop.cart.v1;')
    (shop.cart / "the_models.proto").write_text('syntax = "proto3"; package shop.cart.v1;')
    with pytest.raises(SpecError) as caught:
        shop.build()
    assert "the same module as shop/cart/v1/the-models.proto" in caught.value.problems[0]


@pytest.mark.parametrize("package", ["draft_api", "chassis", "google", "json"])
def test_a_package_of_anothers_name_is_refused(shop: Shop, package: str) -> None:
    with pytest.raises(SpecError, match=f'cannot be called "{package}"'):
        build(shop.folder, shop.out, package)


def test_one_symbol_in_two_files_is_told_where_it_is(shop: Shop) -> None:
    (shop.cart / "more.proto").write_text(
        'syntax = "proto3";\npackage shop.cart.v1;\nimport "shop/cart/v1/models.proto";\n'
        "message Item {}\n"
    )
    with pytest.raises(SpecError) as caught:
        shop.build()
    assert "more.proto:4:9: " in caught.value.problems[0]


def test_spaces_and_letters_of_any_script_in_the_path_are_no_matter(tmp_path: Path) -> None:
    shop = Shop(tmp_path / "my shöp 店")
    text = workspace.MODELS.replace("// What", f'import "{FRAMEWORKS}";\n\n// What', 1)
    (shop.cart / "models.proto").write_text(
        text + "\nmessage X { core.registry.key_value.v1.Value v = 1; }"
    )
    assert shop.build().written
    assert shop.build().fresh
    lint(shop.folder)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    (shop.folder / "gen").write_text("a file stands where a folder has to be")
    with pytest.raises(OSError, match="gen"):
        shop.build()


def test_five_hundred_protos_are_one_build(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    for number in range(500):
        file = shop.folder / f"shop/part{number}/v1/part.proto"
        file.parent.mkdir(parents=True)
        file.write_text(
            f'syntax = "proto3";\npackage shop.part{number}.v1;\n'
            'import "shop/cart/v1/models.proto";\n'
            "service PartService { rpc Get(GetRequest) returns (GetResponse); }\n"
            "message GetRequest { string id = 1; }\n"
            "message GetResponse { shop.cart.v1.Item item = 1; }\n"
        )
    began = time.monotonic()
    assert shop.build().protos == 502
    built = time.monotonic()
    assert shop.build().fresh
    print(f"502 protos: {built - began:.1f} s, unchanged {time.monotonic() - built:.3f} s")


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
