"""Whether an instance can do its work: what a row of answers says, and who is told."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from chassis.health import MOMENT, Checkup, Opinion, ask_health
from chassis.testing import running
from tests.support.waiting import until_answered
from tests.unit.chassis.test_app import NOT_SERVING, SERVING, health, make


def test_nobody_serves_before_it_was_found_to_work() -> None:
    opinion = Opinion()
    assert "not been found to work" in opinion.why
    opinion.hear("no database", 0.0, 0.0)
    assert opinion.why == "no database"
    opinion.hear("", 1.0, 1.0)
    assert opinion.why == ""


def test_what_lasts_no_longer_than_a_moment_is_nothing() -> None:
    opinion = Opinion()
    opinion.hear("", 0.0, 0.0)
    opinion.hear("away", 1.0, 1.1)
    opinion.hear("away", 2.0, 1.0 + MOMENT - 0.1)
    assert opinion.why == ""
    opinion.hear("", 5.0, 5.0)
    opinion.hear("away", 6.0, 6.0 + MOMENT - 0.1)
    assert opinion.why == "", "the moment begins anew after a good answer"


def test_what_lasts_longer_is_told_in_the_newest_words_until_the_first_good_answer() -> None:
    opinion = Opinion()
    opinion.hear("", 0.0, 0.0)
    opinion.hear("refused", 1.0, 1.0)
    opinion.hear("refused", 1.0 + MOMENT, 1.0 + MOMENT)
    assert opinion.why == "refused"
    opinion.hear("starting", 6.0, 6.0)
    assert opinion.why == "starting"
    opinion.hear("", 7.0, 7.0)
    assert opinion.why == ""


async def test_a_check_that_hangs_is_an_answer_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chassis.health.MOMENT", 0.05)
    checkup = Checkup(asyncio.Event().wait)
    await checkup.ask()
    assert checkup.why == "no answer within 0.05 s to whether it works"


async def test_a_service_whose_check_fails_says_not_serving_and_why_until_it_is_well(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("chassis.health.MOMENT", 0.05)
    monkeypatch.setattr("chassis.health.EVERY", 0.02)
    caplog.set_level("INFO")
    app, well = make(), asyncio.Event()

    @app.health_check
    async def database() -> None:
        if not well.is_set():
            raise ConnectionError("the database at db:5432 is away")

    async with running(app) as service:

        async def says(state: int) -> bool:
            return await health(service) == state

        assert await health(service) == NOT_SERVING
        assert await ask_health(service.channel, within=5) == "the database at db:5432 is away"
        well.set()
        await until_answered(lambda: says(SERVING))
        assert await ask_health(service.channel, within=5) == ""
        well.clear()
        await until_answered(lambda: says(NOT_SERVING))
    assert caplog.text.count("not serving: the database at db:5432 is away") == 1


async def test_who_says_itself_that_it_is_ill_may_say_why() -> None:
    async with running(make()) as service:
        await service.app.set_healthy(False, "the disk is full")
        assert await ask_health(service.channel, within=5) == "the disk is full"
        await service.app.set_healthy(False)
        assert await ask_health(service.channel, within=5) == "it says so itself"
        await service.app.set_healthy(True)
        assert await ask_health(service.channel, within=5) == ""


async def test_a_reason_of_any_length_fits_beside_the_answer() -> None:
    async with running(make()) as service:
        await service.app.set_healthy(False, "é" * 100_000)
        assert (await ask_health(service.channel, within=5)).startswith("éé")


async def test_who_does_not_answer_is_no_news_of_its_health() -> None:
    async with grpc.aio.insecure_channel("127.0.0.1:1") as nowhere:
        with pytest.raises(grpc.aio.AioRpcError):
            await ask_health(nowhere, within=5)
