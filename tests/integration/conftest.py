"""What tests of machines share: one machine a module, and a cluster of its own for each test."""

from collections.abc import Iterator

import pytest

from dctl.hosts.systemd import SystemdHost
from tests.support.machines import Machine
from tests.support.remote import Remote, remotes


@pytest.fixture(scope="module")
def remote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Remote]:
    with remotes(tmp_path_factory.mktemp("remote"), "core-1") as (one,):
        yield one


@pytest.fixture
def host(remote: Remote) -> Iterator[SystemdHost]:
    with remote.cluster() as made:
        yield made


@pytest.fixture
def machine(remote: Remote) -> Machine:
    return remote.machine
