"""`dctl config` and `dctl schema`."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dctl.__main__ import run
from dctl.errors import ExitCode
from tests.unit.dctl.spec.cases import ENV, ROOT

EVERYTHING = ROOT / "good" / "everything.yaml"


def output(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    code = run(argv)
    out, err = capsys.readouterr()
    return code, out, err


def test_config_prints_one_merged_spec_in_which_secrets_are_references(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("REGION", "eu")
    monkeypatch.setenv("TOKEN", "hunter2")
    # Its services lie beside it, so that folder is made the workspace.
    for name in ("services", "inventory", "config", EVERYTHING.name):
        (tmp_path / name).symlink_to(EVERYTHING.parent / name)

    code, out, err = output(capsys, "config", "-f", str(tmp_path / EVERYTHING.name), "-o", "json")

    assert (code, err) == (0, "")
    data = json.loads(out)
    assert data["services"]["cart"]["env"] == {"DB_URL": "secret://db", "REGION": "eu"}
    assert list(data["hosts"]) == ["edge-1", "core-1", "core-2", "core-3"]
    assert "inventory" not in data
    assert "hunter2" not in out


def test_config_of_a_bad_spec_exits_3_with_the_problems_on_stderr(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT / "bad")
    code, out, err = output(capsys, "config", "-f", "missing.yaml")
    assert (code, out) == (ExitCode.BAD_SPEC, "")
    assert err.startswith('missing.yaml:1:1: missing key "apiVersion"\n')
    assert err.endswith("3 problems; nothing was changed\n")


@pytest.fixture
def schema(capsys: pytest.CaptureFixture[str]) -> Any:
    code, out, _ = output(capsys, "schema")
    assert code == 0
    return json.loads(out)


def test_every_key_of_the_model_is_in_the_schema_and_nothing_else_is_allowed(schema: Any) -> None:
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert {"apiVersion", "kind", "name", "services", "core"} <= schema["properties"].keys()
    assert sorted(schema["required"]) == ["apiVersion", "kind", "name"]
    for model in (schema, *schema["$defs"].values()):
        if "properties" in model:
            assert model["additionalProperties"] is False
            assert "^x-" in model["patternProperties"]


def test_the_schema_speaks_the_notation_of_the_spec(schema: Any) -> None:
    health = schema["$defs"]["Health"]["properties"]
    assert health["interval"]["anyOf"][0]["type"] == "string"
    assert health["interval"]["default"] == "1s"
    assert health["retries"]["default"] == 3
    assert {"$ref": "#/$defs/Variable"} in health["retries"]["anyOf"]
    assert schema["$defs"]["Service"]["oneOf"] == [
        {"required": ["run"]},
        {"required": ["command"]},
        {"required": ["image"]},
    ]


def test_every_reference_in_the_schema_leads_somewhere(schema: Any) -> None:
    def references(node: Any) -> Any:
        if isinstance(node, dict):
            yield from ([node["$ref"]] if "$ref" in node else [])
            for value in node.values():
                yield from references(value)
        elif isinstance(node, list):
            for value in node:
                yield from references(value)

    for reference in references(schema):
        assert reference.removeprefix("#/$defs/") in schema["$defs"]


def test_a_flag_for_a_duration_costs_no_model_and_loading_costs_no_rpc_library() -> None:
    script = (
        "import sys, os, pathlib, dctl.spec.units\n"
        "assert not {'pydantic', 'ruamel.yaml'} & sys.modules.keys()\n"
        "from dctl.spec import load\n"
        f"load(pathlib.Path({str(EVERYTHING)!r}), env={ENV!r})\n"
        "assert not {'grpc', 'google.protobuf', 'asyncio', 'rich'} & sys.modules.keys()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
