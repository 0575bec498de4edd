"""The Docker engine: the one place that imports docker-py, and where its errors become ours.

The engine is the one that DOCKER_HOST names, else this machine's; or another machine's, through a
tunnel.
"""

from __future__ import annotations

import functools
import importlib
import io
import os
import sys
import tarfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import Any

from dctl.errors import DctlError, NotFoundError, UnreachableError
from dctl.hosts.docker.naming import CLUSTER, IMAGE_OF

_DENIED = (
    "let your user into the group docker (sudo usermod -aG docker $USER) and log in again,"
    " or name another engine in DOCKER_HOST"
)
_NOT_THERE = (
    "start it (sudo systemctl start docker, or Docker Desktop), or name another in DOCKER_HOST"
)

_NO_ANSWER = "Error while fetching server API version"  # docker-py's words


class GoneError(NotFoundError):
    """What was named is not, or no longer, on the engine."""


class Engine:
    """The calls that the container runtime needs; all may be made from several threads.

    `host` is how errors name the machine. `tunnel` opens the way to the engine of another one, and
    tells the address here.
    """

    def __init__(self, host: str, tunnel: Callable[[], str] | None = None) -> None:
        self._host = host
        self._tunnel = tunnel
        self._connecting = threading.Lock()
        self._ahead = 0.0

    @property
    def ahead(self) -> float:
        """Seconds that the engine's clock is before ours, going by its last answer. Answers tell
        whole seconds, and take a while: less than two are none."""
        return self._ahead if abs(self._ahead) >= 2 else 0.0

    # Looking

    def containers(self) -> list[Mapping[str, Any]]:
        """Every container on the engine, whoever's, as its list has them."""
        with self._errors("list the containers"):
            return list(self._api.containers(all=True))

    def inspect(self, container: str) -> Mapping[str, Any] | None:
        """All about one container."""
        with self._errors("look at a container"), _none_when_gone():
            return dict(self._api.inspect_container(container))
        return None

    def image(self, name: str) -> Mapping[str, Any] | None:
        """What a tag, digest or id names on the engine now."""
        with self._errors(f"look at the image {name}"), _none_when_gone():
            return dict(self._api.inspect_image(name))
        return None

    def network(self, name: str) -> Mapping[str, Any] | None:
        with self._errors(f"look at the network {name}"), _none_when_gone():
            return dict(self._api.inspect_network(name))
        return None

    def volume(self, name: str) -> Mapping[str, Any] | None:
        with self._errors(f"look at the volume {name}"), _none_when_gone():
            return dict(self._api.inspect_volume(name))
        return None

    def images(self, cluster: str) -> list[str]:
        """The tags of the images that were built for a cluster's services."""
        with self._errors("list the images"):
            answer = self._api.images(filters={"label": f"{IMAGE_OF}={cluster}"})
        return sorted(tag for image in answer for tag in image["RepoTags"] or ())

    def volumes(self, cluster: str) -> list[str]:
        """The names of a cluster's volumes."""
        with self._errors("list the volumes"):
            answer = self._api.volumes(filters={"label": f"{CLUSTER}={cluster}"})
        return sorted(volume["Name"] for volume in answer["Volumes"] or ())

    def was_told_to_stop(self, container: str, *, since: float) -> bool:
        """Whether somebody stopped it since then, as far as the engine remembers."""
        wanted = {"container": container, "event": "stop"}
        # Else the engine would wait for more: for ever, or until its own clock says so.
        until = f"{time.time() + self.ahead:.9f}"
        with self._errors("look at the engine's events"):
            events = self._api.events(since=int(since), until=until, filters=wanted)
            return any(True for _ in events)

    def log(
        self, container: str, *, last: int | None = None, since: int = 0, follow: bool = False
    ) -> Iterator[tuple[str, str]]:
        """What it printed: a time stamp that orders as text, and a line or (without a newline at
        its end) a part of one. Nothing when the container is gone."""
        with self._errors("read a log"), _none_when_gone():
            stream = self._api.logs(
                container,
                stream=True,
                follow=follow,
                timestamps=True,
                tail="all" if last is None else last,
                since=since or None,
            )
            try:
                for frame in stream:
                    stamp, _, text = frame.decode("utf-8", errors="replace").partition(" ")
                    yield stamp, text
            finally:
                stream.close()

    def run(self, container: str, argv: Sequence[str]) -> tuple[int, str]:
        """Run a command in it: the exit code, and what it printed."""
        with self._errors(f"run {argv[0]} in a container"):
            job = self._api.exec_create(container, list(argv))["Id"]
            said = self._api.exec_start(job)
            return int(self._api.exec_inspect(job)["ExitCode"]), said.decode(errors="replace")

    def has(self, container: str, path: str) -> bool:
        """Whether the path is there, inside."""
        with self._errors(f"look for {path} in a container"):
            # docker-py has no call for it but one that fetches the whole tree.
            url = self._api._url("/containers/{0}/archive", container)
            return bool(self._api.head(url, params={"path": path}, timeout=60).ok)

    def read(self, container: str, path: str) -> str:
        """A file inside; "" when it is not there."""
        with self._errors(f"read {path} in a container"), _none_when_gone():
            chunks, _ = self._api.get_archive(container, path)
            with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as tar:
                file = tar.extractfile(tar.getmembers()[0])
                return file.read().decode(errors="replace") if file else ""
        return ""

    # Changing

    def create(self, name: str, body: Mapping[str, Any]) -> str:
        with self._errors(f"create the container {name}"):
            return str(self._api.create_container_from_config(dict(body), name)["Id"])

    def put(self, container: str, tar: bytes) -> None:
        """Unpack into its file system."""
        with self._errors("put files into a container"):
            self._api.put_archive(container, "/", tar)

    def start(self, container: str) -> None:
        with self._errors("start a container"):
            self._api.start(container)

    def stop(self, container: str, timeout: int) -> None:
        """End it gracefully; nothing when it is gone or does not run."""
        with self._errors("stop a container"), _none_when_gone():
            self._api.stop(container, timeout=timeout)

    def restart(self, container: str, timeout: int) -> None:
        with self._errors("restart a container"):
            self._api.restart(container, timeout=timeout)

    def unpause(self, container: str) -> None:
        with self._errors("unpause a container"):
            self._api.unpause(container)

    def rename(self, container: str, name: str) -> None:
        with self._errors(f"rename a container to {name}"):
            self._api.rename(container, name)

    def remove(self, container: str) -> None:
        """With the volumes that have no name; nothing when it is gone."""
        with self._errors("remove a container"), _none_when_gone():
            self._api.remove_container(container, v=True, force=True)

    def create_network(self, name: str, labels: Mapping[str, str]) -> None:
        with self._errors(f"create the network {name}"):
            self._api.create_network(
                name, driver="bridge", labels=dict(labels), check_duplicate=True
            )

    def remove_network(self, name: str) -> None:
        with self._errors(f"remove the network {name}"), _none_when_gone():
            self._api.remove_network(name)

    def create_volume(self, name: str, labels: Mapping[str, str]) -> None:
        with self._errors(f"create the volume {name}"):
            self._api.create_volume(name, labels=dict(labels))

    def remove_volume(self, name: str) -> None:
        with self._errors(f"remove the volume {name}"), _none_when_gone():
            self._api.remove_volume(name)

    def remove_image(self, tag: str) -> None:
        """Unless a container runs from it; nothing when it is gone."""
        with self._errors(f"remove the image {tag}"), _none_when_gone():
            self._api.remove_image(tag)

    # Errors

    @property
    def _api(self) -> Any:
        with self._connecting:
            return self._connected

    @functools.cached_property
    def _connected(self) -> Any:
        docker = _docker_py()
        if self._tunnel is not None:
            api = docker.APIClient(version="auto", base_url=self._tunnel())
        else:
            api = docker.APIClient(version="auto", **docker.utils.kwargs_from_env())
        api.hooks["response"].append(self._compare_clocks)
        # On the way to a socket is no proxy, and nothing of .netrc: requests would look for both
        # at each call, which is a quarter of what a call costs us.
        api.trust_env = not api.base_url.startswith("http+docker:")
        return api

    def _compare_clocks(self, answer: Any, **_: object) -> None:
        if stamp := answer.headers.get("Date"):
            self._ahead = parsedate_to_datetime(stamp).timestamp() - time.time()

    @contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        try:
            yield
        except DctlError:
            raise
        except Exception as error:
            raise self._translated(what, error) from error

    def _translated(self, what: str, error: Exception) -> Exception:
        from http.client import HTTPException

        import requests
        from docker import errors
        from urllib3.exceptions import HTTPError

        if isinstance(error, errors.NotFound):
            return GoneError(f"cannot {what} on {self._host}: {_words(error)}")
        if isinstance(error, errors.APIError):
            return DctlError(f"cannot {what} on {self._host}: {_words(error)}")
        # A stream that breaks off fails under requests, with errors of what that is built on.
        broken = requests.RequestException | HTTPError | HTTPException | OSError
        if not isinstance(error, errors.DockerException | broken):
            return error
        if isinstance(error, requests.Timeout):
            return UnreachableError(
                f"the Docker engine on {self._host} does not answer", hint="is it overloaded?"
            )
        here = os.environ.get("DOCKER_HOST") or "/var/run/docker.sock"
        where = "the end of its SSH tunnel" if self._tunnel else here
        if "_connected" in self.__dict__:
            return UnreachableError(
                f"the Docker engine on {self._host} ({where}) went away in the middle of this",
                hint="start it there again, or wait until it has restarted",
            )
        if self._tunnel:
            return UnreachableError(
                f"there is no Docker engine at {where}, on {self._host}, or it does not let us in",
                hint="start it there, and let the user into the group docker",
            )
        if "Permission denied" in str(error):
            return UnreachableError(
                f"the Docker engine on {self._host} ({where}) does not let us in", hint=_DENIED
            )
        if isinstance(error, errors.DockerException) and _NO_ANSWER not in str(error):
            return UnreachableError(f"the Docker engine at {where} cannot be used: {error}")
        return UnreachableError(
            f"there is no Docker engine on {self._host} at {where}", hint=_NOT_THERE
        )


def _docker_py() -> Any:
    """The library, which costs more than all the rest of a plan of processes; two thirds of that is
    what we have no use for: its own SSH, which only a DOCKER_HOST can ask for, and guesses how a
    text is encoded, for the engine says so."""
    useless = {"chardet", "charset_normalizer"}
    if not os.environ.get("DOCKER_HOST", "").startswith("ssh://"):
        useless.add("paramiko")
    useless -= sys.modules.keys()
    sys.modules.update(dict.fromkeys(useless))  # type: ignore[arg-type]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # requests, that it cannot guess
            return importlib.import_module("docker")
    finally:
        for name in useless:
            del sys.modules[name]


@contextmanager
def _none_when_gone() -> Iterator[None]:
    """Pass over what the engine does not have, or is about to lose."""
    try:
        yield
    except Exception as error:
        from docker import errors

        going = isinstance(error, errors.APIError) and "removal" in _words(error)
        if not going and not isinstance(error, errors.NotFound):
            raise


def _words(error: Any) -> str:
    """The engine's own sentence."""
    said = error.explanation or error
    return " ".join(str(said.decode() if isinstance(said, bytes) else said).split())
