"""Ways to machines, known host keys and failures, as values."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from dctl.errors import DctlError
from dctl.hosts.ssh.config import of_answer, plain, ssh_config
from dctl.hosts.ssh.failures import of_ssh
from dctl.hosts.ssh.known import HostKey, KnownHosts, fingerprint, place
from dctl.hosts.ssh.target import Target, targets, with_jumps
from dctl.spec.model import Host
from dctl.spec.types import SshTarget

KEY = base64.b64encode(b"a key").decode()
OTHER = base64.b64encode(b"another key").decode()
EDGE = Target("edge-1", SshTarget("10.0.0.11", "deploy"))
CORE = Target("core-1", SshTarget("10.0.0.21", "deploy", 2222), "edge-1", Path("/k/core"))


def key(name: str, where: str, value: str = KEY) -> HostKey:
    return HostKey(where, "ssh-ed25519", value, name, f"deploy@{name}")


def test_machines_of_a_spec_are_those_with_ssh_and_their_keys_start_at_its_folder() -> None:
    hosts = {
        "here": Host(),
        "edge-1": Host.model_validate({"ssh": "deploy@10.0.0.11", "key": "keys/edge"}),
    }
    assert targets(hosts, Path("/ws")) == [
        Target("edge-1", SshTarget("10.0.0.11", "deploy"), "", Path("/ws/keys/edge"))
    ]


def test_a_machine_brings_those_on_the_way_to_it_first() -> None:
    known = {one.name: one for one in (CORE, EDGE)}
    assert with_jumps([CORE], known) == [EDGE, CORE]


def test_a_way_in_a_circle_and_one_through_nobody_are_refused() -> None:
    circle = {n: Target(n, SshTarget(n), v) for n, v in (("a", "b"), ("b", "a"))}
    with pytest.raises(DctlError, match="a is reached through itself"):
        with_jumps([circle["a"]], circle)
    lost = Target("a", SshTarget("a"), "nobody")
    with pytest.raises(DctlError, match='"nobody"'):
        with_jumps([lost], {"a": lost})


def test_the_configuration_is_strict_and_asks_nothing() -> None:
    text = ssh_config([plain(EDGE), plain(CORE)], Path("/c/known_hosts"), connect_timeout=10)
    edge, core = text.split("\n\n")
    for block in (edge, core):
        assert "StrictHostKeyChecking yes" in block
        assert "BatchMode yes" in block
        assert "UserKnownHostsFile /c/known_hosts" in block
        assert "GlobalKnownHostsFile /dev/null" in block
    assert "ProxyJump" not in edge
    for line in ("Host core-1", "Port 2222", "ProxyJump edge-1", "IdentityFile /k/core"):
        assert line in core


def test_what_ssh_makes_of_an_alias_counts_and_via_wins_over_its_jump_host(tmp_path: Path) -> None:
    there = tmp_path / "id"
    there.write_text("")
    answer = (
        "hostname 10.0.0.9\nport 2200\nuser ops\nproxyjump gate\n"
        f"identityfile {there}\nidentityfile /not/there\nproxycommand none\n"
    )
    way = of_answer(Target("x", SshTarget("front")), answer)
    assert (way.address, way.place) == ("ops@10.0.0.9:2200", "[10.0.0.9]:2200")
    assert way.keys == (there,)
    assert "ProxyJump gate" in ssh_config([way], Path("/k"), connect_timeout=1)
    through = of_answer(Target("x", SshTarget("front"), "edge-1"), answer)
    assert "ProxyJump edge-1" in ssh_config([through], Path("/k"), connect_timeout=1)


def test_places_are_written_as_openssh_writes_them() -> None:
    assert (place("h", 22), place("h", 2222)) == ("h", "[h]:2222")


def test_a_key_is_stored_once_for_a_name_and_for_a_place_until_it_is_removed(
    tmp_path: Path,
) -> None:
    known = KnownHosts(tmp_path / "draft" / "known_hosts")
    known.add(key("a", "h"))
    known.add(key("b", "i"))
    known.add(key("a", "j", OTHER))
    known.add(key("c", "i", OTHER))
    assert known.all() == [key("a", "j", OTHER), key("c", "i", OTHER)]
    assert known.path.stat().st_mode & 0o777 == 0o600
    assert known.remove("a") == [key("a", "j", OTHER)]
    assert known.remove("a") == []
    assert known.at("i") == key("c", "i", OTHER)


def test_lines_that_are_no_keys_are_kept_and_passed_over(tmp_path: Path) -> None:
    known = KnownHosts(tmp_path / "known_hosts")
    known.path.write_text("# mine\n@revoked h ssh-rsa xyz\nnonsense\nh ssh-rsa !!! \n")
    assert known.all() == []
    known.add(key("a", "h"))
    assert known.path.read_text().startswith("# mine\n@revoked h ssh-rsa xyz\nnonsense\n")


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("ssh: connect to host 10.0.0.11 port 22: Connection refused", "refuses"),
        ("ssh: connect to host 10.0.0.11 port 22: Connection timed out", "in time"),
        ("deploy@10.0.0.11: Permission denied (publickey).", "let us in"),
        ("No ED25519 host key is known for h and you have requested strict checking.\n"
         "Host key verification failed.", "never met"),
        ("ssh: Could not resolve hostname edge: Name or service not known", "resolved"),
        ("Connection closed by 10.0.0.11 port 22", "was cut"),
        ("something new", "something new"),
    ],
)  # fmt: skip
def test_what_ssh_says_becomes_an_error_that_names_the_machine(said: str, words: str) -> None:
    error = of_ssh(said, plain(EDGE))
    assert words in error.message
    assert "edge-1 (deploy@10.0.0.11)" in error.message


def test_a_changed_key_names_both_fingerprints() -> None:
    said = (
        "@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\n"
        "The fingerprint for the ED25519 key sent by the remote host is\nSHA256:new.\n"
    )
    error = of_ssh(said, plain(EDGE), known=fingerprint(KEY))
    assert "SHA256:new;" in error.message
    assert fingerprint(KEY) in error.message
