"""dctl test: a cluster for the tests alone, of which nothing is left whatever happens."""

from __future__ import annotations

import os
import signal
import tempfile
from pathlib import Path

import pytest

from dctl.errors import ExitCode
from tests.support.clusters import Cluster
from tests.support.waiting import wait_until

# Clusters are raised here, on a machine that may be busy.
pytestmark = pytest.mark.timeout(300)

FAILS = """\
import os
from chassis.testing import client, in_cluster
from draft_api.examples.echo.v1 import service_pb2 as pb
from draft_api.examples.echo.v1 import service_pb2_grpc as rpc


async def say():
    async with client(rpc.EchoServiceStub, "echo") as echo:
        return (await echo.Speak(pb.SpeakRequest(input="hi"))).output


def test_it():
    import asyncio

    assert in_cluster()
    assert os.environ["DRAFT_TEST_INGRESS"]
    assert "XDG_STATE_HOME" not in os.environ or "draft-test" not in os.environ["XDG_STATE_HOME"]
    assert asyncio.run(say()) == "ho"
"""
WAITS = """\
from pathlib import Path
from threading import Event


def test_it():
    Path("begun").touch()
    Event().wait()
"""


def test_pytests_exit_code_comes_back_and_nothing_stays_even_after_kill_9(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    # Not below tmp_path: a socket's path has little room.
    with tempfile.TemporaryDirectory(prefix="t-", dir="/tmp") as scratch:
        cluster.env["TMPDIR"] = scratch
        test = tmp_path / "tests" / "test_it.py"
        test.parent.mkdir()
        try:
            test.write_text(FAILS)
            done = cluster.dctl("test", "--", "-p", "no:cacheprovider", code=ExitCode.ERROR)
            assert "assert 'hi' == 'ho'" in done.stdout
            assert os.listdir(scratch) == []
            assert not cluster.state.parent.exists()
            assert not cluster.processes()

            test.write_text(WAITS)
            run = cluster.start("test")
            wait_until(lambda: (tmp_path / "begun").exists(), within=90)
            assert cluster.processes()
            run.send_signal(signal.SIGKILL)
            run.communicate()
            wait_until(lambda: not cluster.processes(), within=60)
            wait_until(lambda: not list(Path(scratch).glob("draft*")), within=10)
        finally:
            cluster.close()


def test_without_a_cluster_the_rest_of_the_command_line_is_pytests(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    (tmp_path / "test_it.py").write_text("def test_it(): pass\n")
    done = cluster.dctl("test", "--no-cluster", "--", "-k", "nothing", code=5)
    assert "1 deselected" in done.stdout
    cluster.dctl("test", "--no-cluster", "-q", "test_it.py")
    assert not cluster.state.exists()
