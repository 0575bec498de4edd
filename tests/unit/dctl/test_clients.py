"""Whatever gRPC says becomes an error of dctl's: what, where, what next."""

import grpc
import pytest
from draft_api.core.registry.key_value.v1 import service_pb2 as pb
from draft_api.core.registry.key_value.v1 import service_pb2_grpc as rpc

from dctl.clients import Way, connect, translate
from dctl.errors import DctlError, ExitCode, UnreachableError, WaitTimeoutError
from tests.support.core_stub import CoreStub, refuse, running_core

_EXIT = {
    grpc.StatusCode.UNAVAILABLE: ExitCode.UNREACHABLE,
    grpc.StatusCode.CANCELLED: ExitCode.UNREACHABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED: ExitCode.TIMEOUT,
}


@pytest.fixture
def core(monkeypatch: pytest.MonkeyPatch):
    with running_core(monkeypatch) as core:
        yield core


@pytest.mark.parametrize("code", [c for c in grpc.StatusCode if c is not grpc.StatusCode.OK])
def test_every_status_has_a_sentence_and_an_exit_code(code: grpc.StatusCode) -> None:
    error = translate("Blueprint at 127.0.0.1:2221", code, "a\nb\x1b[2J", timeout=5)
    assert error.exit_code == _EXIT.get(code, ExitCode.ERROR)
    assert error.message.isprintable()
    assert translate("Blueprint at 127.0.0.1:2221", code, "", timeout=5).message


def test_nobody_listening_is_told_by_name_and_address(core: CoreStub) -> None:
    core.stop()
    with (
        pytest.raises(UnreachableError) as caught,
        connect("Blueprint", Way(core.address), timeout=5),
    ):
        pass
    assert caught.value.message == (
        f"Blueprint at {core.address} did not answer: Connection refused"
    )
    assert caught.value.hint == "dctl infra status"


def test_a_service_without_its_engine_is_told_in_its_own_words(core: CoreStub) -> None:
    core.answers["Get"] = refuse(grpc.StatusCode.UNAVAILABLE, "NATS is away")
    with connect("Blueprint", Way(core.address), timeout=5) as blueprint:
        stub = blueprint.stub(rpc.KeyValueServiceStub)
        with pytest.raises(UnreachableError, match="is not available: NATS is away"):
            blueprint.call(stub.Get, pb.GetRequest())


def test_a_service_that_hangs_is_given_up_after_the_timeout(core: CoreStub) -> None:
    import threading

    release = threading.Event()
    core.answers["Get"] = lambda *_: release.wait(10) and pb.GetResponse()
    try:
        with connect("Blueprint", Way(core.address), timeout=0.2) as blueprint:
            stub = blueprint.stub(rpc.KeyValueServiceStub)
            with pytest.raises(WaitTimeoutError, match=r"did not answer within 0\.2s"):
                blueprint.call(stub.Get, pb.GetRequest())
    finally:
        release.set()


def test_something_else_listening_is_not_a_traceback(core: CoreStub) -> None:
    with connect("Blueprint", Way(core.address), timeout=5) as blueprint:
        stub = blueprint.stub(rpc.KeyValueServiceStub)
        with pytest.raises(DctlError, match="does not know this call"):
            blueprint.call(stub.Get, pb.GetRequest())


def test_answers_may_be_larger_than_grpcs_limit(core: CoreStub) -> None:
    big = pb.GetResponse()
    big.value.value = b"x" * (5 << 20)
    core.answers["Get"] = lambda *_: big
    with connect("Blueprint", Way(core.address), timeout=5) as blueprint:
        stub = blueprint.stub(rpc.KeyValueServiceStub)
        assert blueprint.call(stub.Get, pb.GetRequest()) == big
