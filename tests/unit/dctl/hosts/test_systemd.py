"""Units, what differs in edited ones, and what a machine told, as values."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dctl.hosts.base import State, spec_digest
from dctl.hosts.process import ProcessSpec
from dctl.hosts.systemd import Layout
from dctl.hosts.systemd.ask import agent_program
from dctl.hosts.systemd.observed import observed
from dctl.hosts.systemd.unit import edits, env_of, env_text, limits_of, owner, quoted, unit_text

AT = Layout("shop")


def manifest(held: bool = False, **spec: Any) -> dict[str, Any]:
    made = ProcessSpec(argv=("/bin/x", "a b"), **spec).to_json()
    return {
        "name": "a-1", "service": "a", "needs": [], "ports": {}, "spec": made,
        "digest": spec_digest(made), "held": held,
    }  # fmt: skip


def told(**more: Any) -> dict[str, Any]:
    asked = more.get("asked", manifest())
    return {
        "name": "a-1",
        "unit": unit_text(AT, "a-1", asked) if asked else "",
        "asked": asked,
        "running": asked,
        "env": env_text(asked["spec"]["env"]) if asked else None,
        "files": {},
        "ended": "",
        "over": False,
        "told": False,
        "age": 1.0,
        "show": {"ActiveState": "active", "MainPID": "7", "NRestarts": "0"},
        **more,
    }


@given(st.dictionaries(st.from_regex(r"[A-Z_][A-Z0-9_]*", fullmatch=True),
                       st.text(st.characters(blacklist_categories=("Cs", "Cc"),
                                             whitelist_characters="\n\t"))))  # fmt: skip
def test_variables_are_read_back_as_they_were_written(env: dict[str, str]) -> None:
    assert env_of(env_text(env)) == env


def test_a_word_is_quoted_for_systemd() -> None:
    assert quoted("--port=80") == "--port=80"
    assert quoted("100%") == "100%%"
    assert quoted('say "a\\b"\n') == '"say \\"a\\\\b\\"\\n"'
    assert quoted("") == '""'


def test_a_unit_names_its_owner_and_holds_no_secret() -> None:
    text = unit_text(AT, "a-1", manifest(env={"TOKEN": "s3cr3t"}))
    assert owner(text) == "shop"
    assert "s3cr3t" not in text
    assert owner("[Service]\nExecStart=/bin/x\n") == ""


def test_a_port_below_1024_is_allowed_and_nothing_else() -> None:
    low = {**manifest(), "ports": {"http": ["0.0.0.0", 80]}}
    assert "AmbientCapabilities=CAP_NET_BIND_SERVICE\n" in unit_text(AT, "a-1", low)
    assert "AmbientCapabilities=\n" in unit_text(AT, "a-1", manifest())


def test_edits_are_told_by_section_and_key_and_comments_are_none() -> None:
    wanted = unit_text(AT, "a-1", manifest())
    found = wanted.replace("PrivateTmp=yes", "PrivateTmp=no").replace("Type=exec\n", "")
    found = f"# hello\n{found}Alias=x.service\n"
    assert edits(found, wanted) == {
        "Install": {"Alias": "x.service"},
        "Service": {"PrivateTmp": "no", "Type": "removed"},
    }
    assert edits(wanted, wanted) == {}


@pytest.mark.parametrize(
    ("changed", "state"),
    [
        ({}, State.RUNNING),
        ({"show": {"ActiveState": "activating"}}, State.STARTING),
        ({"show": {"ActiveState": "failed"}}, State.FAILED),
        ({"show": {"ActiveState": "inactive"}}, State.STOPPED),
        ({"show": {"ActiveState": "inactive"}, "asked": manifest(held=True)}, State.HELD),
        ({"show": {"ActiveState": "inactive"}, "ended": "exited 0", "over": True},
         State.COMPLETED),
        ({"show": {"ActiveState": "inactive"}, "ended": "exited 0", "over": True, "told": True},
         State.STOPPED),
        ({"show": {"ActiveState": "inactive"}, "ended": "exited 0"}, State.STOPPED),
        ({"show": {"ActiveState": "inactive"}, "ended": "exited 0", "over": True,
          "asked": manifest(restart="always")}, State.STOPPED),
        ({"show": {"ActiveState": "inactive"}, "ended": "exited 0", "over": True,
          "running": manifest(env={"A": "1"})}, State.STOPPED),
    ],
)  # fmt: skip
def test_states(changed: dict[str, Any], state: State) -> None:
    seen = observed(AT, told(**changed), host="h", now=100.0)
    assert seen is not None
    assert seen.state is state


def test_what_runs_is_told_with_the_spec_that_it_was_started_with() -> None:
    old, new = manifest(env={"A": "1"}), manifest(env={"A": "2"})
    seen = observed(AT, told(asked=new, running=old), host="h", now=100.0)
    assert seen is not None
    assert seen.spec is not None
    assert seen.spec["env"] == {"A": "1"}


def test_a_unit_of_another_cluster_is_none_of_ours_and_one_of_nobody_has_no_owner() -> None:
    theirs = unit_text(Layout("shop-b"), "a-1", manifest())
    assert observed(AT, told(unit=theirs), host="h", now=100.0) is None
    nobodys = observed(AT, told(unit="[Service]\n", asked=None, running=None), host="h", now=100.0)
    assert nobodys is not None
    assert nobodys.owner == ""


@pytest.mark.parametrize(
    ("ended", "words"),
    [("exited 3", "exit status 3"), ("killed TERM", "killed by SIGTERM"),
     ("killed 9", "killed by SIGKILL"), ("", "")],
)  # fmt: skip
def test_the_last_exit_is_told_in_words(ended: str, words: str) -> None:
    seen = observed(AT, told(ended=ended), host="h", now=100.0)
    assert seen is not None
    assert seen.last_exit == words


def test_a_users_name_is_never_too_long_and_differs_for_long_clusters() -> None:
    users = {Layout("c" * 49 + end).user for end in "ab"}
    assert len(users) == 2
    assert all(len(user) <= 32 for user in users)


@pytest.mark.parametrize(
    ("memory", "quota", "found"),
    [
        ("infinity", "infinity", (None, None)),
        ("134217728", "1.500000s", (134217728, 1.5)),
        ("1", "250ms", (1, 0.25)),
        ("1", "2s 500ms", (1, 2.5)),
        ("1", "1min 4s", (1, 64.0)),
        ("1", "3.333ms", (1, 0.003333)),
    ],
)
def test_limits_are_read_as_systemd_writes_them(
    memory: str, quota: str, found: tuple[int | None, float | None]
) -> None:
    assert limits_of({"MemoryMax": memory, "CPUQuotaPerSecUSec": quota}) == found


def test_a_quota_that_systemd_has_rounded_is_no_drift() -> None:
    shown = {"ActiveState": "active", "CPUQuotaPerSecUSec": "333.333ms"}
    asked = manifest(cpus=1 / 3)
    seen = observed(AT, told(asked=asked, show=shown), host="h", now=100.0)
    assert seen is not None
    assert seen.spec == asked["spec"]


def test_the_agent_answers_without_anything_of_ours_on_the_machine(tmp_path: Path) -> None:
    layout = json.dumps({**AT.to_json(), "var": str(tmp_path)})
    line = [sys.executable, "-I", "-S", "-c", agent_program(), "0", "journal", layout, "{}"]
    done = subprocess.run(line, capture_output=True, text=True, cwd=tmp_path)
    assert (done.stdout, done.stderr) == ('""\n', "")


def test_a_look_imports_on_the_machine_only_what_it_needs(tmp_path: Path) -> None:
    layout = json.dumps({**AT.to_json(), "etc": str(tmp_path), "units": str(tmp_path)})
    line = [sys.executable, "-I", "-S", "-X", "importtime", "-c", agent_program()]
    done = subprocess.run([*line, "0", "observe", layout, "{}"], capture_output=True, text=True)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert {"json", "subprocess"} <= imported
    assert not imported & {"typing", "secrets", "shutil", "random", "socket"}


def test_programs_for_machines_are_python_3_9() -> None:
    folder = Path(sys.modules["dctl.hosts.systemd"].__path__[0])
    for file in (folder / "agent.py", folder / "beside.py", *folder.glob("there/*.py")):
        ast.parse(file.read_text(), feature_version=(3, 9))
