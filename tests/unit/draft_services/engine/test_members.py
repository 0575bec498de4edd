"""Nodes that nobody of today has met are known by what nodes call each other."""

from draft_services.engine.members import peer


def test_a_node_is_called_as_the_server_calls_it() -> None:
    # As nats-server 2.15 told them.
    assert peer("nats-4") == "HuYMtjaW"
    assert peer("nats-5") == "T8Dbtd3v"
