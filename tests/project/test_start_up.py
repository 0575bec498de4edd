"""Start-up stays fast because nothing heavy is imported before it is needed."""

import subprocess
import sys

import pytest

HEAVY = ["asyncio", "grpc", "google.protobuf", "pydantic", "ruamel.yaml", "rich", "textual"]
HEAVY += ["supervisor", "psutil", "nats", "cloudevents", "grpc_tools", "watchfiles"]


def modules_after(code: str) -> set[str]:
    """The modules that a fresh interpreter holds after running `code`."""
    probe = f"import sys\n{code}\nprint(*sys.modules, sep='\\n', file=sys.__stdout__)"
    done = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, check=True, timeout=60
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("argv", [["--help"], ["--version"], ["nonsense"]])
def test_the_frame_imports_nothing_heavy(argv: list[str]) -> None:
    loaded = modules_after(f"from dctl.__main__ import run\nrun({argv!r})")
    assert not loaded & set(HEAVY)


@pytest.mark.parametrize(
    "argv",
    [
        [command, "--help"]
        for command in ("infra", "kv", "broker", "api", "context", "service", "run", "call", "test")
    ],
)
def test_help_of_a_group_imports_nothing_heavy(argv: list[str]) -> None:
    loaded = modules_after(f"from dctl.__main__ import run\nrun({argv!r})")
    assert not loaded & set(HEAVY)


def test_reading_a_plan_needs_no_services_and_no_engine_client() -> None:
    loaded = modules_after("import dctl.engine.cluster")
    assert not loaded & {"nats", "draft_services", "textual", "supervisor"}


def test_the_worker_for_machines_looks_for_no_plugins_and_loads_nothing_that_it_does_not_use() -> (
    None
):
    looks = (
        "from importlib import metadata; found = metadata.entry_points\n"
        "asked = []\n"
        "metadata.entry_points = lambda **of: asked.append(of) or found(**of)\n"
        "import dctl.hosts.ssh.worker\n"
        "assert not [of for of in asked if 'gevent' in of.get('group', '')]"
    )
    assert "invoke.tasks" not in modules_after(looks)


def test_import_chassis_is_light() -> None:
    loaded = modules_after("import chassis")
    assert not loaded & {"grpc", "pydantic", "ruamel.yaml", "asyncio"}
