"""The one place here that speaks to an engine, through the docker command; its errors become ours.

The command and not the API: only it reads the user's contexts and registry logins for a build.
python-on-whales is imported when first needed: it takes a quarter of a second.
"""

from __future__ import annotations

import contextlib
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from dctl.errors import DctlError, NotFoundError, UnreachableError

if TYPE_CHECKING:
    from python_on_whales import DockerClient
    from python_on_whales.exceptions import DockerException

_SHOWN = 20  # last lines of a failed build
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class Engine:
    """A Docker engine: the one that the user's docker command means, or the one at `host`."""

    def __init__(self, host: str = "") -> None:
        self._host = host

    def image_id(self, reference: str) -> str:
        """The id of the image, "" if the engine has none of that name."""
        from python_on_whales.exceptions import NoSuchImage

        with self._translated("images cannot be read"):
            try:
                return self._client().image.inspect(reference).id
            except NoSuchImage:
                return ""

    def pull(self, reference: str, what: str = "image") -> None:
        """Get an image from its registry; `what` and the reference name it in errors."""
        from python_on_whales.exceptions import DockerException

        with self._translated(f"{what} {reference}"):
            try:
                self._client().image.pull(reference, quiet=True)
            except DockerException as error:
                if _unreachable(error):
                    raise
                raise NotFoundError(
                    f"{what} {reference} is not on the engine and cannot be pulled: {_last(error)}",
                    hint=f"docker load or docker import it as {reference}, or name one that this"
                    " engine has (docker images) in the spec",
                ) from None

    def tag(self, reference: str, name: str) -> None:
        """Give an image a further name."""
        with self._translated(f"image {reference} cannot be called {name}"):
            self._client().image.tag(reference, name)

    def push(self, name: str, say: Callable[[str], None]) -> str:
        """Send an image to its registry, saying how far it is; the digest that it has there."""
        from python_on_whales.exceptions import DockerException
        from python_on_whales.utils import stream_stdout_and_stderr

        done: set[str] = set()
        layers: set[str] = set()
        digest = ""
        last: deque[str] = deque(maxlen=_SHOWN)
        with self._translated(f"image {name} cannot be pushed"):
            command = [*self._client().client_config.docker_cmd, "push", name]
            try:
                for _, raw in stream_stdout_and_stderr(command):
                    line = raw.decode(errors="replace").strip()
                    layer, _, state = line.partition(": ")
                    if state in ("Preparing", "Waiting"):
                        layers.add(layer)
                    elif state in ("Pushed", "Layer already exists"):
                        done.add(layer)
                        say(f"{len(done)} of {len(layers | done)} layers are there")
                    if found := _DIGEST.search(line):
                        digest = found[0]
                    if line:
                        last.append(line)
            except DockerException as error:
                if _unreachable(error):
                    raise
                why = last[-1] if last else _last(error)
                raise UnreachableError(
                    f"image {name} cannot be pushed: {why}",
                    hint="is that the registry's name, and are you logged in? docker login",
                ) from None
        return digest

    def run(self, reference: str, *argv: str) -> str:
        """What a program of the image prints; it gets no network."""
        from python_on_whales.exceptions import DockerException

        with self._translated(f"base image {reference}"):
            try:
                output = self._client().container.run(
                    reference,
                    list(argv[1:]),
                    entrypoint=argv[0],
                    remove=True,
                    networks=["none"],
                    pull="never",
                )
            except DockerException as error:
                if _unreachable(error):
                    raise
                raise NotFoundError(
                    f"base image {reference}: {argv[0]} does not run in it: {_last(error)}",
                    hint="name a base image with Python 3.11 or newer, such as python:3.12-slim",
                ) from None
        return str(output)

    def build(
        self,
        context: Path,
        dockerfile: Path,
        tag: str,
        args: Mapping[str, str],
        say: Callable[[str], None],
    ) -> None:
        """Build an image without a network, saying each step of the Dockerfile."""
        from python_on_whales.exceptions import DockerException
        from python_on_whales.utils import stream_stdout_and_stderr

        # The library's own legacy_build() can only print, and its build() wants the buildx plugin,
        # which a Debian engine does not bring. The old builder is in every docker command so far.
        last: deque[str] = deque(maxlen=_SHOWN)
        with self._translated(f"image {tag} cannot be built"):
            command = [*self._client().client_config.docker_cmd, "build", "--network", "none"]
            command += ["--force-rm", "--file", str(dockerfile), "--tag", tag]
            for key, value in args.items():
                command += ["--build-arg", f"{key}={value}"]
            output = stream_stdout_and_stderr([*command, str(context)], {"DOCKER_BUILDKIT": "0"})
            try:
                for _, raw in output:
                    line = raw.decode(errors="replace").rstrip()
                    if line.startswith("Step "):
                        say(f"s{line[1:]}".replace(" : ", ": ", 1))
                    if line.startswith("Step 1/"):
                        last.clear()  # until here it only said that this builder is old
                    if line:
                        last.append(line)
            except DockerException as error:
                if _unreachable(error):
                    raise
                lines = "\n  ".join(last)
                raise DctlError(
                    f"image {tag} cannot be built; its build ended with:\n  {lines}"
                ) from None

    def _client(self) -> DockerClient:
        from python_on_whales import DockerClient

        return DockerClient(host=self._host or None)

    @contextlib.contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        from python_on_whales.client_config import ClientNotFoundError
        from python_on_whales.exceptions import DockerException

        try:
            yield
        except ClientNotFoundError:
            raise NotFoundError(
                "the docker command is not installed here, and images are built with it",
                hint="install Docker (on Debian: apt-get install docker.io)",
            ) from None
        except DockerException as error:
            if _unreachable(error):
                where = f" at {self._host}" if self._host else ""
                raise UnreachableError(
                    f"the Docker engine{where} does not answer: {_last(error)}",
                    hint="start it (systemctl start docker), join the group docker,"
                    " or set DOCKER_HOST",
                ) from None
            raise DctlError(f"{what}: {_last(error)}") from None


def _unreachable(error: DockerException) -> bool:
    said = (error.stderr or "").lower()
    return any(
        words in said
        for words in (
            "cannot connect to the docker daemon",
            "is the docker daemon running",
            "error during connect",
            "permission denied while trying to connect",
            "failed to connect to the docker api",
        )
    )


def _last(error: DockerException) -> str:
    lines = [line for line in (error.stderr or "").splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith("See 'docker")]
    return lines[-1].strip() if lines else f"docker ended with {error.return_code}"
