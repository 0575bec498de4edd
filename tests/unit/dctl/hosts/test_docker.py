"""What is decided of containers without an engine."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from typing import Any

import pytest

from dctl.errors import DctlError, ForeignError
from dctl.hosts.base import Endpoint, Kind, Need, Resource, State
from dctl.hosts.docker import ContainerSpec, PublishedPort, naming
from dctl.hosts.docker.body import body
from dctl.hosts.docker.deliver import archive, folders, owner
from dctl.hosts.docker.naming import Listed, instances, refuse_stranger, strangers
from dctl.hosts.docker.observed import epoch, exit_text, observed, read_back
from dctl.hosts.docker.spec import lies

FULL = ContainerSpec(
    image="shop/cart:1",
    command=("run", "--fast"),
    env={"COLOR": "red"},
    files={"/etc/a": "a"},
    secrets={"/run/b": "nonce"},
    volumes={"data": "/data"},
    ports={"grpc": PublishedPort(50051), "http": PublishedPort(80, "0.0.0.0:8080")},
    aliases=("zed", "alpha"),
    restart="on-failure",
    retries=4,
    stop_signal="INT",
    stop_timeout=2.5,
    memory=1 << 20,
    cpus=0.1,
    user="app",
    source="abc",
)
PICKED = {"grpc": Endpoint("127.0.0.1", 20_001), "http": Endpoint("0.0.0.0", 8080)}


def resource(spec: ContainerSpec = FULL, name: str = "cart-1") -> Resource:
    return Resource(
        Kind.CONTAINER, name, "local", "cart", spec.to_json(), ports=PICKED, needs=(Need("db-1"),)
    )


def inspected(spec: ContainerSpec = FULL, **state: Any) -> dict[str, Any]:
    """The engine's answer about a container that was made as asked."""
    asked = resource(spec)
    ports = {name: PICKED[name] for name in spec.ports}
    labels = naming.labels("shop", asked, spec.to_json())
    made = body("shop", "cart-1", spec, ports, labels)
    network = made["NetworkingConfig"]["EndpointsConfig"]["draft-shop"]
    return {
        "Id": "c" * 64,
        "Image": "sha256:" + "1" * 64,
        "RestartCount": 0,
        "Config": {"Cmd": None, "Entrypoint": None, "User": "", **made},
        "HostConfig": made["HostConfig"],
        "Mounts": [
            {
                "Type": "volume",
                "Name": mount.get("Source", "e" * 64),
                "Destination": mount["Target"],
            }
            for mount in made["HostConfig"]["Mounts"]
        ],
        "NetworkSettings": {
            "Networks": {"draft-shop": {"Aliases": [*network["Aliases"], "c" * 12]}}
        },
        "State": {
            "Status": "running",
            "Pid": 7,
            "ExitCode": 0,
            "OOMKilled": False,
            "Error": "",
            "StartedAt": "2026-01-02T03:04:05.5Z",
            **state,
        },
    }


def image_of(container: dict[str, Any], **config: Any) -> dict[str, Any]:
    return {"Id": container["Image"], "Config": config}


def listed(name: str, cluster: str = "shop", instance: str = "a-1") -> Listed:
    labels = {naming.CLUSTER: cluster, naming.INSTANCE: instance} if cluster else {}
    return Listed(id=name, name=name, labels=labels, state="running")


# What is asked


def test_a_spec_survives_being_stored() -> None:
    assert ContainerSpec.from_json(FULL.to_json()).to_json() == FULL.to_json()
    least = ContainerSpec.from_json({"image": "a"})
    assert least == ContainerSpec("a")


@pytest.mark.parametrize(
    "spec",
    [
        {"image": ""},
        {"files": {"etc/a": ""}},
        {"secrets": {"/a/../b": "s"}},
        {"volumes": {"data": "data"}},
        {"files": {"/a": ""}, "secrets": {"/a": "s"}},
        {"stop_signal": "NOPE"},
    ],
)
def test_what_cannot_be_is_refused(spec: dict[str, Any]) -> None:
    with pytest.raises(DctlError):
        ContainerSpec(**{"image": "a", **spec})


@pytest.mark.parametrize("publish", ["", "a", "127.0.0.1:", "127.0.0.1:70000"])
def test_a_place_that_is_none_is_refused(publish: str) -> None:
    with pytest.raises(DctlError, match="port 80"):
        PublishedPort(80, publish)


@pytest.mark.parametrize(
    ("publish", "host"),
    [
        ("8080", "127.0.0.1"),
        (":8080", "127.0.0.1"),
        ("0.0.0.0:8080", "0.0.0.0"),
        ("[::]:8080", "::"),
    ],
)
def test_a_port_is_published_on_this_machine_alone_unless_an_address_is_given(
    publish: str, host: str
) -> None:
    assert PublishedPort(80, publish).wish == Endpoint(host, 8080)


def test_a_secret_is_named_and_never_told_in_what_the_engine_shows() -> None:
    made = body("shop", "cart-1", FULL, PICKED, naming.labels("shop", resource(), FULL.to_json()))
    assert "/run/b" not in str({**made, "Labels": {}})


def test_what_was_asked_can_be_asked_again_from_the_labels() -> None:
    asked = resource()
    assert naming.resource(naming.labels("shop", asked, asked.spec), "local") == asked


# What is read back


def test_what_was_made_as_asked_is_read_back_as_it_was_asked() -> None:
    container = inspected()
    image = image_of(container, Env=["PATH=/bin"], Cmd=["other"])
    container["Config"]["Env"].append("PATH=/bin")
    assert read_back(container, image, image, "shop") == FULL.to_json()


def test_an_image_may_bring_nothing_along() -> None:
    container = inspected()
    image = {"Id": container["Image"], "Config": None}
    assert read_back(container, image, image, "shop") == FULL.to_json()


def test_without_its_image_a_container_is_no_drift() -> None:
    container = inspected()
    container["Config"]["Env"].append("PATH=/bin")
    assert read_back(container, None, None, "shop") == FULL.to_json()


@pytest.mark.parametrize(
    ("path", "value", "field", "seen"),
    [
        ("Config.Cmd", ["run"], "command", ["run"]),
        ("Config.Entrypoint", ["/evil"], "command", ["/evil", "run", "--fast"]),
        ("Config.User", "root", "user", "root"),
        ("Config.StopSignal", "SIGTERM", "stop", {"signal": "TERM", "timeout": 2.5}),
        ("Config.StopTimeout", 9, "stop", {"signal": "INT", "timeout": 9.0}),
        ("Config.Env", ["COLOR=red", "X=1"], "env", {"COLOR": "red", "X": "1"}),
        ("HostConfig.Memory", 0, "memory", None),
        ("HostConfig.NanoCpus", 2 * 10**9, "cpus", 2.0),
        ("HostConfig.RestartPolicy", {"Name": "no", "MaximumRetryCount": 0}, "restart",
         {"when": "never", "max": 4}),
        ("HostConfig.RestartPolicy", {"Name": "on-failure", "MaximumRetryCount": 1}, "restart",
         {"when": "on-failure", "max": 1}),
        ("HostConfig.PortBindings", {"80/tcp": [{"HostIp": "", "HostPort": "99"}]}, "ports",
         {"http": {"container": 80, "publish": "0.0.0.0:99"}}),
        ("Mounts", [{"Source": "/home", "Destination": "/data"}], "volumes", {"/home": "/data"}),
        ("NetworkSettings.Networks", {"bridge": {"Aliases": None}}, "network", "bridge"),
        ("NetworkSettings.Networks", {"draft-shop": {"Aliases": ["cart-1", "new"]}}, "aliases",
         ["new"]),
    ],
)  # fmt: skip
def test_each_field_is_read_from_the_engine(path: str, value: Any, field: str, seen: Any) -> None:
    container = inspected()
    *outer, last = path.split(".")
    place = container
    for part in outer:
        place = place[part]
    place[last] = value
    image = image_of(container)
    assert read_back(container, image, image, "shop") == {**FULL.to_json(), field: seen}


def test_a_tag_that_means_another_image_by_now_is_a_change_of_the_image() -> None:
    container = inspected()
    spec = read_back(container, image_of(container), {"Id": "sha256:2"}, "shop")
    assert spec is not None
    assert spec["image"] == "shop/cart:1@sha256:111111111111"


def test_a_container_with_labels_that_we_do_not_understand_has_no_spec() -> None:
    container = inspected()
    container["Config"]["Labels"][naming.SPEC] = "{"
    assert read_back(container, None, None, "shop") is None


NEVER = ContainerSpec("a", restart="never")
ALWAYS = ContainerSpec("a", restart="always")
FAILING = ContainerSpec("a")
BOUNDED = ContainerSpec("a", retries=2)
SERVER = ContainerSpec("a", ports={"http": PublishedPort(80)})


@pytest.mark.parametrize(
    ("spec", "status", "code", "mark", "told", "state"),
    [
        (FAILING, "running", 0, "", False, State.RUNNING),
        (FAILING, "restarting", 1, "", False, State.STARTING),
        (FAILING, "paused", 0, "", False, State.STOPPED),
        (FAILING, "created", 0, "", False, State.STOPPED),
        (FAILING, "exited", 0, "", False, State.COMPLETED),
        (FAILING, "exited", 0, "", True, State.STOPPED),
        (FAILING, "exited", 143, "", False, State.STOPPED),
        (FAILING, "exited", 0, "down", False, State.STOPPED),
        (FAILING, "exited", 0, "held", False, State.HELD),
        (FAILING, "running", 0, "held", False, State.RUNNING),
        (BOUNDED, "exited", 1, "", False, State.FAILED),
        (NEVER, "exited", 0, "", False, State.COMPLETED),
        (NEVER, "exited", 1, "", False, State.FAILED),
        (ALWAYS, "exited", 0, "", False, State.STOPPED),
        (SERVER, "exited", 0, "", False, State.STOPPED),
    ],
)
def test_the_state_of_a_container(
    spec: ContainerSpec, status: str, code: int, mark: str, told: bool, state: State
) -> None:
    container = inspected(spec, Status=status, ExitCode=code)
    container["RestartCount"] = 2
    seen = observed(container, None, host="local", mark=mark, told_to_stop=told)
    assert seen.state is state


@pytest.mark.parametrize(
    ("state", "text"),
    [
        ({"Status": "exited", "ExitCode": 3}, "exit status 3"),
        ({"Status": "exited", "ExitCode": 137}, "killed by SIGKILL"),
        ({"Status": "exited", "ExitCode": 137, "OOMKilled": True},
         "killed for lack of memory (limit 1M)"),
        ({"Status": "exited", "ExitCode": 127, "Error": "no such file\nmore"}, "no such file"),
        ({"Status": "created"}, ""),
        ({"Status": "paused"}, "paused"),
        ({"Status": "running"}, ""),
    ],
)  # fmt: skip
def test_the_last_exit_is_told_in_words(state: dict[str, Any], text: str) -> None:
    assert observed(inspected(**state), None, host="local").last_exit == text


def test_an_exit_code_over_128_that_is_no_signal_stays_a_number() -> None:
    assert (exit_text(255), exit_text(143)) == ("exit status 255", "killed by SIGTERM")


def test_what_does_not_run_has_neither_pid_nor_age() -> None:
    running = observed(inspected(), None, host="local")
    assert (running.pid, running.started) == (7, epoch("2026-01-02T03:04:05.5Z"))
    ended = observed(inspected(Status="exited"), None, host="local")
    assert (ended.pid, ended.started) == (0, 0.0)


def test_the_engines_stamps_are_seconds_and_never_is_zero() -> None:
    assert epoch("1970-01-01T00:01:00.250000000Z") == 60.25
    assert epoch("1970-01-01T00:01:00Z") == 60.0
    assert epoch("0001-01-01T00:00:00Z") == 0.0


# Which container is which


@pytest.mark.parametrize(
    ("names", "current", "whole"),
    [
        (["draft-shop-a-1"], "draft-shop-a-1", True),
        (["draft-shop-a-1", "draft-shop-a-1.new"], "draft-shop-a-1", True),
        (["draft-shop-a-1", "draft-shop-a-1.old"], "draft-shop-a-1", True),
        (["draft-shop-a-1.new", "draft-shop-a-1.old"], "draft-shop-a-1.old", True),
        (["draft-shop-a-1.new", "by-hand"], "by-hand", True),
        (["draft-shop-a-1.new"], "draft-shop-a-1.new", False),
    ],
)
def test_of_what_a_cut_off_replacement_left_one_counts(
    names: list[str], current: str, whole: bool
) -> None:
    found = instances(map(listed, names), "shop")["a-1"]
    assert found.current is not None
    assert (found.current.name, found.whole) == (current, whole)
    assert len(found.all) == len(names)


def test_only_unlabelled_containers_under_our_names_are_strangers() -> None:
    everyone = [
        listed("draft-shop-a-1"),
        listed("draft-shop-b-1", cluster=""),
        listed("draft-shop-a-b-1", cluster="shop-a"),
        listed("postgres", cluster=""),
    ]
    assert list(strangers(everyone, "shop")) == ["b-1"]
    refuse_stranger(everyone, "shop", "draft-shop-a-1")
    for name in ("draft-shop-b-1", "draft-shop-a-b-1"):
        with pytest.raises(ForeignError, match=name):
            refuse_stranger(everyone, "shop", name)


@pytest.mark.parametrize("name", ["", "a b", "a/b", ".a", "a.new"])
def test_a_name_that_no_container_can_have_is_refused(name: str) -> None:
    with pytest.raises(DctlError, match="name of a container"):
        naming.container_name("shop", name)


# Files


def test_files_come_with_their_owner_and_only_missing_folders() -> None:
    made = archive({"/etc/new/b": "ü", "/etc/a": "x"}, ["/etc/new"], 7, 8)
    with tarfile.open(fileobj=io.BytesIO(made)) as tar:
        entries = {e.name: (e.isdir(), oct(e.mode), e.uid, e.gid) for e in tar.getmembers()}
    assert entries == {
        "etc/new": (True, "0o755", 0, 0),
        "etc/a": (False, "0o600", 7, 8),
        "etc/new/b": (False, "0o600", 7, 8),
    }


def test_a_secret_lies_in_the_volume_of_secrets_wherever_it_is_asked_for() -> None:
    assert lies("/run/draft/secrets/db") == "/run/draft/secrets/db"
    places = {lies("/etc/app/key.pem"), lies("/etc/app.key.pem"), lies("/run/draft/secrets2")}
    assert len(places) == 3
    assert all(place.startswith("/run/draft/secrets/") for place in places)


def test_the_folders_of_files_are_told_from_outside_in() -> None:
    assert folders(["/a/b/c", "/d"]) == ["/a", "/a/b"]


PASSWD = "root:x:0:0::/:\napp:x:10:20::/:\nbroken\n"
GROUP = "root:x:0:\nstaff:x:30:\n"


@pytest.mark.parametrize(
    ("user", "ids"),
    [
        ("", (0, 0)),
        ("app", (10, 20)),
        ("10", (10, 20)),
        ("app:staff", (10, 30)),
        ("app:5", (10, 5)),
        ("99", (99, 0)),
        ("99:98", (99, 98)),
    ],
)
def test_a_user_is_found_as_the_engine_finds_it(user: str, ids: tuple[int, int]) -> None:
    assert owner(user, PASSWD, GROUP) == ids


@pytest.mark.parametrize("user", ["nobody-here", "app:no-group"])
def test_a_user_or_group_that_is_not_in_the_image_is_named(user: str) -> None:
    with pytest.raises(DctlError, match=user.rpartition(":")[2]):
        owner(user, PASSWD, GROUP)


# The engine's client


def test_its_library_is_loaded_only_to_talk_to_an_engine() -> None:
    code = "import sys, dctl.hosts.docker; print({'docker', 'requests', 'grpc'} & {*sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "set()"


def test_a_socket_that_is_closed_to_us_says_which_group_opens_it() -> None:
    from docker.errors import DockerException

    from dctl.errors import UnreachableError
    from dctl.hosts.docker.client import Engine

    class Denied(Engine):
        @property
        def _api(self) -> Any:
            raise DockerException("(PermissionError(13, 'Permission denied'))")

    with pytest.raises(UnreachableError, match="does not let us in") as said:
        Denied("local").containers()
    assert "group docker" in said.value.hint


@pytest.mark.parametrize(("engine", "loaded"), [("unix:///nowhere.sock", False), ("ssh://x", True)])
def test_the_librarys_own_ssh_is_loaded_for_an_engine_that_is_reached_so_alone(
    engine: str, loaded: bool
) -> None:
    look = (
        "import sys; from dctl.hosts.docker.client import _docker_py; _docker_py();"
        "import docker.transport;"
        "print('paramiko' in sys.modules, hasattr(docker.transport, 'SSHHTTPAdapter'))"
    )
    said = subprocess.run(
        [sys.executable, "-c", look],
        env={**os.environ, "DOCKER_HOST": engine},
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.split() == [str(loaded)] * 2


def test_the_library_guesses_no_encodings_and_does_not_complain_of_that() -> None:
    look = (
        "import sys; from dctl.hosts.docker.client import _docker_py; _docker_py();"
        "import requests; print('charset_normalizer' in sys.modules, requests.compat.chardet)"
    )
    said = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert (said.stdout, said.stderr) == ("False None\n", "")
