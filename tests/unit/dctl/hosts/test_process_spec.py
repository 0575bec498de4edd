"""What may be asked of a process, and supervisor's configuration for it."""

from __future__ import annotations

import configparser
import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from dctl.errors import DctlError
from dctl.hosts.process import ProcessSpec, data_dir, instance_dir, state_dir
from dctl.hosts.process.config import configuration
from dctl.hosts.process.launch import environment
from dctl.hosts.process.layout import Layout
from dctl.hosts.process.records import Manifest

FULL = ProcessSpec(
    argv=("serve", "--rate=100%"),
    env={"PASSWORD": "100%sure"},
    files={"config.yaml": "pearl: 1"},
    cwd="/srv",
    source="abc",
    restart="always",
    backoff=(0.5, 5),
    stop_signal="INT",
    stop_timeout=2.5,
    ports={"grpc": "127.0.0.1:0"},
)


def manifest(spec: ProcessSpec = FULL, *, held: bool = False) -> Manifest:
    return Manifest(
        name="a-1",
        service="a",
        needs=[],
        ports={},
        spec=spec.to_json(),
        digest="",
        held=held,
    )


def parsed(text: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, inline_comment_prefixes=(";", "#"))
    parser.read_string(text)
    return parser


def test_a_spec_survives_being_stored() -> None:
    assert ProcessSpec.from_json(FULL.to_json()) == FULL
    only = ProcessSpec(("run",))
    assert ProcessSpec.from_json(only.to_json()) == only
    assert ProcessSpec.from_json({"argv": ["run"]}) == only


@pytest.mark.parametrize("path", ["/etc/passwd", "../other-1/config.yaml", "a/../../b"])
def test_files_stay_inside_the_process_folder(path: str) -> None:
    with pytest.raises(DctlError, match="outside"):
        ProcessSpec(("run",), files={path: ""})


def test_a_command_and_a_known_signal_are_required() -> None:
    with pytest.raises(DctlError, match="command"):
        ProcessSpec(())
    with pytest.raises(DctlError, match="STOP"):
        ProcessSpec(("run",), stop_signal="STOP")


def test_configuration_holds_neither_command_nor_secret() -> None:
    text = configuration(Layout(Path("/s")), Path("/s/sock"), "/py", [manifest()], quiet=False)
    assert "100" not in text
    assert "--rate" not in text
    assert "pearl" not in text
    section = parsed(text)["program:a-1"]
    assert section["command"].startswith("/py -I -S ")
    assert section["command"].endswith(" shim /s a-1")
    assert (section["stopsignal"], section["stopwaitsecs"]) == ("INT", "3")
    assert section["autorestart"] == "true"


@pytest.mark.parametrize(
    ("held", "quiet", "autostart"),
    [(False, False, "true"), (True, False, "false"), (False, True, "false")],
)
def test_what_is_held_is_not_started_by_a_revived_supervisor(
    held: bool, quiet: bool, autostart: str
) -> None:
    asked = [manifest(held=held)]
    text = configuration(Layout(Path("/s")), Path("/s/sock"), "/py", asked, quiet=quiet)
    assert parsed(text)["program:a-1"]["autostart"] == autostart


def test_a_section_changes_only_by_what_supervisor_itself_acts_on() -> None:
    def section(spec: ProcessSpec) -> dict[str, str]:
        text = configuration(Layout(Path("/s")), Path("/k"), "/py", [manifest(spec)], quiet=False)
        return dict(parsed(text)["program:a-1"])

    assert section(FULL) == section(dataclasses.replace(FULL, argv=("other",), env={}))
    assert section(FULL) != section(dataclasses.replace(FULL, stop_timeout=9))


def test_percent_signs_in_paths_are_not_expanded() -> None:
    layout = Layout(Path("/s%h"))
    text = configuration(layout, Path("/s%h/sock"), "/py", [], quiet=False)
    assert parsed(text)["unix_http_server"]["file"] == "/s%%h/sock"


def test_a_path_that_supervisor_takes_for_a_comment_is_refused() -> None:
    with pytest.raises(DctlError, match="a #1"):
        configuration(Layout(Path("/a #1")), Path("/k"), "/py", [], quiet=False)


def test_state_stands_where_xdg_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert state_dir("shop") == tmp_path / "draft" / "shop"
    assert instance_dir("shop", "a-1").is_relative_to(state_dir("shop"))
    assert data_dir("shop", "a-1") == tmp_path / "draft" / "shop" / "data" / "a-1"
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/me")
    assert state_dir("shop") == Path("/home/me/.local/state/draft/shop")


def test_processes_inherit_nothing_of_the_shell_that_started_them() -> None:
    shell = {"PATH": "/bin", "LC_ALL": "C", "AWS_SECRET": "s", "PYTHONPATH": "/x", "DRAFT_X": "1"}
    assert environment(shell) == {"PATH": "/bin", "LC_ALL": "C"}


def test_the_shim_and_the_reader_stay_light() -> None:
    """What is imported at each start of a process, and by each plan."""
    probe = "import sys, {}; print(*sys.modules)"
    heavy = {"dataclasses", "subprocess", "tempfile", "logging", "click", "asyncio"}
    assert not heavy & modules(probe.format("dctl.hosts.process.shim"))
    heavy = {"http.client", "supervisor", "psutil", "grpc", "asyncio", "tempfile"}
    assert not heavy & modules(probe.format("dctl.hosts.process.reader"))


def modules(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return set(done.stdout.split())
