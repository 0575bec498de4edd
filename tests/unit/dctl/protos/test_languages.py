"""Other languages: by the plugin that is there, of those that draft.yaml names."""

import sys
from pathlib import Path

import pytest

from dctl.protos.asked import Asked, asked, remembered
from dctl.protos.build import build
from dctl.workspace import read_workspace
from tests.unit.dctl.protos import workspace

# A plugin of protoc in a few lines: a file for each proto, that says what it was given.
PLUGIN = f"""\
#!{sys.executable}
import sys
from google.protobuf.compiler import plugin_pb2 as pb
asked = pb.CodeGeneratorRequest.FromString(sys.stdin.buffer.read())
made = pb.CodeGeneratorResponse(supported_features=1)
for file in asked.proto_file:
    if file.name in asked.file_to_generate:
        text = f"{{asked.parameter}} {{file.options.go_package}}"
        made.file.add(name=file.name.replace(".proto", ".pb.go"), content=text)
sys.stdout.buffer.write(made.SerializeToString())
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    workspace.write(tmp_path)
    (tmp_path / "draft.yaml").write_text(
        "name: shop\nrepo: github.com/acme/shop\n"
        "api: {package: shop_api, languages: [go, typescript]}\n"
    )
    tools_ = tmp_path / "tools"
    tools_.mkdir()
    (tools_ / "protoc-gen-go").write_text(PLUGIN)
    (tools_ / "protoc-gen-go").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools_}:/usr/bin:/bin")
    return tmp_path


def made(what: Asked) -> bool:
    """Build it; whether there was nothing to do."""
    result = build(
        what.folder, what.out, what.package, stamp_file=what.stamp, further=what.further()
    )
    return result.fresh


def test_a_language_is_generated_by_its_plugin_and_one_without_is_named(root: Path) -> None:
    what = asked(read_workspace(root))
    (missing,) = what.missing
    assert "npm install -g @bufbuild/protoc-gen-es" in missing
    made(what)
    go = root / "api/gen/go/shop/cart/v1/models.pb.go"
    assert go.read_text().startswith(
        "paths=source_relative github.com/acme/shop/api/gen/go/shop/cart/v1"
    )
    assert not (root / "api/gen/ts").exists()


def test_another_plugin_of_a_language_builds_anew(root: Path) -> None:
    made(asked(read_workspace(root)))
    assert made(asked(read_workspace(root)))
    go = root / "api/gen/go/shop/cart/v1/models.pb.go"
    go.unlink()
    newer = PLUGIN.replace("{asked.parameter}", "newer")
    (root / "tools/protoc-gen-go").write_text(newer)
    made(asked(read_workspace(root)))
    assert go.read_text().startswith("newer ")


def test_an_unchanged_draft_yaml_is_not_read_again(root: Path) -> None:
    assert remembered(root) is None
    what = asked(read_workspace(root))
    made(what)
    assert remembered(root) == what
    text = (root / "draft.yaml").read_text()
    (root / "draft.yaml").write_text(text.replace("shop_api", "other_api"))
    assert remembered(root) is None
    (root / "draft.yaml").write_text(text + "# ${HOME}\n")  # it may say another thing each time
    made(asked(read_workspace(root)))
    assert remembered(root) is None


def test_a_workspace_that_moved_is_built_where_it_is(root: Path, tmp_path: Path) -> None:
    made(asked(read_workspace(root)))
    moved = root.rename(tmp_path.parent / f"{tmp_path.name}-moved")
    what = remembered(moved)
    assert what is not None
    assert what.folder == moved / "api"
