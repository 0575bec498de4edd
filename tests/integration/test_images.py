"""Images on a real engine: built without a network from a bare Debian, and run."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from draft_api.examples.echo.v1 import service_pb2 as pb
from draft_api.examples.echo.v1 import service_pb2_grpc as rpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from dctl import bundled
from dctl.errors import DctlError, NotFoundError, UnreachableError
from dctl.images import Base, Image, build, core_image, read_base, service_image
from dctl.images.core import ENVOY, NATS_SERVER
from dctl.images.image import make
from tests.support.base_image import base_image
from tests.support.docker import docker
from tests.support.waiting import wait_until

# The first test of a machine makes the base and downloads what the images need.
pytestmark = pytest.mark.timeout(900)

Builder = Callable[[Image], list[str]]


@pytest.fixture(scope="module")
def base() -> Base:
    return read_base(base_image(), lambda line: None)


@pytest.fixture(scope="module")
def core(base: Base) -> Image:
    image = core_image(base)
    build(image, lambda line: None)
    return image


@pytest.fixture
def built() -> Iterator[Builder]:
    """Builds an image of the test's own; it is gone afterwards."""
    tags: list[str] = []

    def make_it(image: Image) -> list[str]:
        tags.append(image.tag)
        said: list[str] = []
        build(image, said.append)
        return said

    yield make_it
    for tag in tags:
        docker("rmi", "--force", tag, check=False)


@pytest.fixture
def greeter(tmp_path: Path) -> Path:
    folder = tmp_path / "greeter"
    folder.mkdir()
    (folder / "main.py").write_text("import words\nprint(words.HELLO)\n")
    (folder / "words.py").write_text("HELLO = 'hello'\n")
    return folder


@pytest.fixture
def cluster() -> str:
    return f"test-{uuid.uuid4().hex[:8]}"


def test_nats_and_envoy_run_from_the_core_as_a_user_who_is_not_root(core: Image) -> None:
    assert "nats-server: v" in docker("run", "--rm", core.tag, NATS_SERVER, "--version")
    assert "version:" in docker("run", "--rm", core.tag, ENVOY, "--version")
    assert docker("run", "--rm", core.tag, "id", "-u") == "10001"


def test_envoy_is_the_only_process_of_its_container(core: Image) -> None:
    conf = "admin: {address: {socket_address: {address: 0.0.0.0, port_value: 9901}}}"
    with container(core, ENVOY, "--config-yaml", conf) as name:
        wait_until(lambda: "starting main dispatch loop" in log(name), within=20)
        processes = docker("top", name, "-o", "pid,comm").splitlines()[1:]
        assert [line.split()[1] for line in processes] == ["envoy"]


def test_blueprint_serves_from_the_core_on_nats_from_the_core(core: Image) -> None:
    with container(
        core, NATS_SERVER, "-js", "-sd", "/var/lib/draft", options=("-p", "127.0.0.1::9090")
    ) as nats:
        beside = ("--network", f"container:{nats}", *listening(9090))
        with container(
            core, "python", "-m", "draft_services.blueprint", options=beside
        ) as blueprint:
            assert await_serving(address(nats, 9090), blueprint)


def test_echo_of_the_examples_serves_from_its_image(
    base: Base, cluster: str, built: Builder
) -> None:
    folder = bundled.folder("services/examples") / "echo"
    image = service_image(base, cluster=cluster, service="echo", folder=folder)
    built(image)
    with container(image, options=("-p", "127.0.0.1::9000", *listening(9000))) as name:
        assert docker("exec", name, "pwd") == "/app/echo"
        with grpc.insecure_channel(address(name, 9000)) as channel:
            speak = rpc.EchoServiceStub(channel).Speak
            answer = speak(pb.SpeakRequest(input="hi"), wait_for_ready=True, timeout=30)
    assert answer.output == "hi"


def test_an_image_that_is_there_is_not_built_again(
    base: Base, cluster: str, built: Builder, greeter: Path
) -> None:
    image = service_image(base, cluster=cluster, service="greeter", folder=greeter)
    assert f"building {image.tag}" in "\n".join(built(image))
    before = docker("image", "inspect", "--format", "{{.Id}} {{.Created}}", image.tag)
    assert built(image) == []
    assert docker("image", "inspect", "--format", "{{.Id}} {{.Created}}", image.tag) == before


def test_a_change_of_code_builds_the_service_alone(
    base: Base, cluster: str, built: Builder, greeter: Path
) -> None:
    built(service_image(base, cluster=cluster, service="greeter", folder=greeter))
    (greeter / "words.py").write_text("HELLO = 'hallo'\n")
    changed = service_image(base, cluster=cluster, service="greeter", folder=greeter)
    said = built(changed)
    assert [line for line in said if line.startswith("building")] == [
        f"building {changed.tag} (1 of 1)"
    ]
    assert docker("run", "--rm", changed.tag) == "hallo"


def test_a_service_can_read_its_code_and_not_change_it_whatever_modes_it_has_here(
    base: Base, cluster: str, built: Builder, greeter: Path
) -> None:
    (greeter / "words.py").chmod(0o600)
    image = service_image(base, cluster=cluster, service="greeter", folder=greeter)
    built(image)
    assert docker("run", "--rm", image.tag) == "hello"
    refused = docker("run", "--rm", image.tag, "sh", "-c", "touch main.py || echo refused")
    assert refused == "refused"


def test_code_is_compiled_in_the_image(
    base: Base, cluster: str, built: Builder, greeter: Path
) -> None:
    image = service_image(base, cluster=cluster, service="greeter", folder=greeter)
    built(image)
    show = "import words, grpc; print(words.__cached__, grpc.__cached__)"
    cached = docker("run", "--rm", image.tag, "python", "-c", show).split()
    docker("run", "--rm", image.tag, "ls", *cached)


def test_requirements_of_a_service_are_in_its_image(
    base: Base, cluster: str, built: Builder, greeter: Path
) -> None:
    (greeter / "requirements.txt").write_text("draft\nsortedcontainers\n")
    (greeter / "main.py").write_text("import sortedcontainers, chassis\nprint('both')\n")
    image = service_image(base, cluster=cluster, service="greeter", folder=greeter)
    for one in image.chain()[-2:]:
        built(one)
    assert docker("run", "--rm", image.tag) == "both"


def test_a_build_has_no_network(base: Base, cluster: str, built: Builder) -> None:
    bare = make(f"draft/{cluster}-bare", base.reference, "python", title="test")
    text = 'ARG PARENT\nFROM ${PARENT}\nRUN test "$(ls /sys/class/net)" = lo\n'
    built(replace(bare, dockerfile=text))


def test_a_failed_build_shows_its_last_lines(
    base: Base, cluster: str, built: Builder, greeter: Path
) -> None:
    (greeter / "main.py").write_text("def broken(:\n")
    image = service_image(base, cluster=cluster, service="greeter", folder=greeter)
    with pytest.raises(DctlError) as caught:
        built(image)
    first, *lines = caught.value.message.splitlines()
    assert image.tag in first
    assert "SyntaxError: invalid syntax" in caught.value.message
    assert len(lines) <= 20


def test_a_failed_build_leaves_no_container(base: Base, cluster: str, built: Builder) -> None:
    bare = make(f"draft/{cluster}-bare", base.reference, "python", title="test")
    with pytest.raises(DctlError, match="returned a non-zero code"):
        built(replace(bare, dockerfile=f"ARG PARENT\nFROM ${{PARENT}}\nRUN exit 1 # {cluster}\n"))
    assert cluster not in docker("ps", "--all", "--no-trunc", "--format", "{{.Command}}")


def test_labels_say_what_an_image_is(
    base: Base, cluster: str, built: Builder, greeter: Path
) -> None:
    image = service_image(base, cluster=cluster, service="greeter", folder=greeter)
    built(image)
    form = '{{index .Config.Labels "%s"}}'
    for label, value in {
        "draft.image.cluster": cluster,
        "draft.image.service": "greeter",
        "org.opencontainers.image.base.name": base.reference,
    }.items():
        assert docker("image", "inspect", "--format", form % label, image.tag) == value


def test_a_base_that_nobody_has_is_named_with_a_way_out() -> None:
    base_image()  # skips where no engine is
    with pytest.raises(
        NotFoundError, match=r"localhost:1/nothing:1 is not on the engine"
    ) as caught:
        read_base("localhost:1/nothing:1", lambda line: None)
    assert "in the spec" in caught.value.hint


def test_a_base_without_python_is_refused(built: Builder, base: Base, cluster: str) -> None:
    bare = make(f"draft/{cluster}-no-python", base.reference, "python", title="test")
    built(replace(bare, dockerfile="ARG PARENT\nFROM ${PARENT}\nRUN rm /usr/bin/python3\n"))
    with pytest.raises(NotFoundError, match="python3 does not run in it"):
        read_base(bare.tag, lambda line: None)


def test_an_engine_that_is_not_there_is_unreachable_and_not_a_missing_image(tmp_path: Path) -> None:
    base_image()
    with pytest.raises(UnreachableError, match="does not answer"):
        read_base("python:3.12-slim", lambda line: None, host=f"unix://{tmp_path}/none.sock")


@contextmanager
def container(image: Image, *argv: str, options: tuple[str, ...] = ()) -> Iterator[str]:
    """A running container of the image; gone afterwards, its volumes too."""
    name = f"draft-test-{uuid.uuid4().hex[:8]}"
    try:
        docker("run", "--detach", "--name", name, *options, image.tag, *argv)
        yield name
    finally:  # one that could not be started is there too
        docker("rm", "--force", "--volumes", name, check=False)


def listening(port: int) -> tuple[str, ...]:
    """Options for a chassis service that is called from outside its container."""
    env = {"BIND_ADDRESS": "0.0.0.0", "BIND_PORT": str(port)}
    return tuple(
        word
        for key, value in env.items()
        for word in ("--env", f"DRAFT_SERVICE_NETWORK_{key}={value}")
    )


def address(name: str, port: int) -> str:
    """Where a container's port is published."""
    return docker("port", name, str(port)).splitlines()[0]


def log(name: str) -> str:
    """What it wrote; the docker command keeps the two streams apart."""
    done = subprocess.run(["docker", "logs", name], capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


def await_serving(target: str, name: str) -> bool:
    """Until its health check says that it serves."""
    with grpc.insecure_channel(target) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check

        def serving() -> bool:
            assert docker("inspect", "--format", "{{.State.Running}}", name) == "true", log(name)
            try:
                answer = check(health_pb2.HealthCheckRequest(), wait_for_ready=True, timeout=5)
            except grpc.RpcError:
                return False
            return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

        return wait_until(serving, within=60)
