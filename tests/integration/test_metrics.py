"""What Prometheus reads of the core services, while they do their work."""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from draft_api.core.registry.key_value.v1 import service_pb2 as kv
from draft_api.core.registry.key_value.v1.service_pb2_grpc import KeyValueServiceStub
from prometheus_client.parser import text_string_to_metric_families

from tests.support.blueprint import value
from tests.support.catalyst import ALL, consuming, events, produce
from tests.support.clusters import Cluster
from tests.support.envoy import free_port
from tests.support.fuse import fuse_process
from tests.support.nats import Nats, running_nats
from tests.support.services import Service, running_blueprint, running_service
from tests.support.waiting import until_answered


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[Nats]:
    with running_nats(tmp_path / "nats") as running:
        yield running


@pytest.fixture
def blueprint(nats: Nats, tmp_path: Path) -> Iterator[Service]:
    with running_blueprint(tmp_path, nats.url, **_metrics()) as running:
        yield running


def _metrics() -> dict[str, str]:
    return {"DRAFT_DRAFT_METRICS_PORT": str(free_port())}


async def scraped(service: Service) -> dict[str, float]:
    """Samples as ``name{label}``, by the values of their labels."""
    url = f"http://127.0.0.1:{service.env['DRAFT_DRAFT_METRICS_PORT']}/metrics"

    def read() -> str:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return str(answer.read().decode())

    found = {}
    for family in text_string_to_metric_families(await asyncio.to_thread(read)):
        for sample in family.samples:
            values = [value for _, value in sorted(sample.labels.items())]
            found[f"{sample.name}{{{','.join(values)}}}"] = sample.value
    return found


async def test_blueprint_tells_what_it_holds_and_does(blueprint: Service, nats: Nats) -> None:
    async with grpc.aio.insecure_channel(blueprint.address) as channel:
        keys: Any = KeyValueServiceStub(channel)
        sets = [keys.Set(kv.SetRequest(key=f"k{n}", value=value("v"))) for n in range(50)]
        revision = max(answer.revision for answer in await asyncio.gather(*sets))
        await keys.Delete(kv.DeleteRequest(key="k0", value=value()))
        await keys.Get(kv.GetRequest(key="k1", value=value()))
        watch = keys.Watch(kv.WatchRequest(value=value()))
        await watch.read()

        async def as_listed() -> bool:
            """A service that has just begun writes keys of its own."""
            listed = 0
            async for told in keys.Watch(kv.WatchRequest()):
                listed += sum(event.kind == kv.WatchEvent.KIND_PUT for event in told.events)
                if any(event.kind == kv.WatchEvent.KIND_SYNCED for event in told.events):
                    break
            return listed >= 49 and (await scraped(blueprint))["draft_blueprint_keys{}"] == listed

        await until_answered(as_listed)
        found = await scraped(blueprint)
        assert found["draft_blueprint_watchers{keys}"] >= 1
        watch.cancel()
    assert found["draft_blueprint_bytes{}"] > 49 * len("k1")
    assert found["draft_blueprint_view_revision{keys}"] > revision
    assert found["draft_blueprint_view_lag{keys}"] == 0
    assert found["draft_blueprint_processes{running}"] == 1
    assert found["draft_blueprint_leases_expired_total{gone}"] == 0
    assert found["draft_blueprint_writes_total{keys}"] >= 51
    batches = found["draft_blueprint_commit_batch_size_count{}"]
    assert 1 <= batches <= found["draft_blueprint_commit_batch_size_sum{}"]
    service = "core.registry.key_value.v1.KeyValueService"
    assert found[f"grpc_server_handled_total{{OK,Set,{service},unary}}"] >= 50

    async def closed() -> bool:
        return (await scraped(blueprint))["draft_blueprint_watchers{keys}"] == 0

    await until_answered(closed)


async def test_catalyst_tells_what_came_and_went(
    blueprint: Service, nats: Nats, tmp_path: Path
) -> None:
    env = {
        "DRAFT_SERVICE_ENTRYPOINT": blueprint.address,
        "DRAFT_CATALYST_NATS": nats.url,
        **_metrics(),
    }
    with running_service("catalyst", tmp_path, **env) as catalyst:
        async with grpc.aio.insecure_channel(catalyst.address) as channel:
            await produce(channel, [events(20)])
            async with consuming(channel, start=ALL) as consumer:
                await consumer.until(20)
                found = await scraped(catalyst)
                assert found["draft_catalyst_consumers{}"] == 1
                assert found["draft_catalyst_events_delivered_total{}"] == 20
        assert found["draft_catalyst_events_produced_total{}"] == 20
        assert found["draft_catalyst_last_sequence{}"] == 20
        assert found["draft_catalyst_lag{}"] == 0
        assert found["draft_catalyst_consumer_lag{}"] == 0

        async def gone() -> bool:
            return (await scraped(catalyst))["draft_catalyst_consumers{}"] == 0

        await until_answered(gone)
        after = await scraped(catalyst)
        assert after["draft_catalyst_events_delivered_total{}"] == 20, "a counter never falls"


async def test_fuse_tells_of_its_routes(blueprint: Service, tmp_path: Path) -> None:
    with fuse_process(tmp_path, blueprint.address, free_port(), **_metrics()) as fuse:

        async def published() -> bool:
            return (await scraped(fuse))["draft_fuse_snapshot_version{}"] > 0

        await until_answered(published)
        found = await scraped(fuse)
        assert found["draft_fuse_routes{}"] == 0
        assert found["draft_fuse_proxies{}"] == 0
        assert found["draft_fuse_answers_total{nack}"] == 0


async def test_the_registry_tells_where_a_process_is_scraped(
    blueprint: Service, tmp_path: Path
) -> None:
    from draft_api.core.registry.service_discovery.v1 import service_pb2 as pb
    from draft_api.core.registry.service_discovery.v1.service_pb2_grpc import (
        ServiceDiscoveryServiceStub,
    )

    async with grpc.aio.insecure_channel(blueprint.address) as channel:
        registry: Any = ServiceDiscoveryServiceStub(channel)
        answer = await registry.Query(pb.QueryRequest(filter=pb.Filter(name="blueprint")))
    [process] = answer.data.values()
    labels = {each.key: each.value for each in process.metadata}
    port = blueprint.env["DRAFT_DRAFT_METRICS_PORT"]
    assert labels["draft.metrics"] == f"127.0.0.1:{port}"


def test_a_spec_that_asks_for_metrics_gives_each_service_a_port_that_the_registry_tells(
    tmp_path: Path,
) -> None:
    cluster = Cluster(tmp_path)
    cluster.extra = "observability: {metrics: true}\n"
    cluster.write()
    try:
        cluster.dctl("infra", "apply", "-y")
        assert "No changes" in cluster.dctl("infra", "plan").stdout
        processes = cluster.json("ps")["items"]
        scraped = {each["name"]: each["metadata"]["draft.metrics"] for each in processes}
        assert set(scraped) == {"blueprint", "catalyst", "fuse", "echo"}
        for name, address in scraped.items():
            assert address in cluster.status()[f"{name}-1"]["address"]
            with urllib.request.urlopen(f"http://{address}/metrics", timeout=5) as answer:
                assert b"grpc_server_started_total" in answer.read()
        cluster.extra = ""
        cluster.write()
        cluster.dctl("infra", "apply", "-y")
        assert not [
            each for each in cluster.json("ps")["items"] if "draft.metrics" in each["metadata"]
        ]
    finally:
        cluster.close()
