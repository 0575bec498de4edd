"""Which requests are lost when a stream gets another leader."""

import pytest
from draft_services.engine.connection import _is_for


@pytest.mark.parametrize(
    ("subject", "stream", "lost"),
    [
        ("$KV.keys.a.b", "KV_keys", True),
        ("$KV.keys2.a.b", "KV_keys", False),
        ("ce.type.source", "ce", True),
        ("$JS.API.STREAM.INFO.KV_keys", "KV_keys", True),
        ("$JS.API.STREAM.MSG.GET.KV_keys", "KV_keys", True),
        ("$JS.API.STREAM.INFO.KV_keys", "KV_processes", False),
        # What makes a stream has it elect a leader itself, and takes as long as it takes.
        ("$JS.API.STREAM.CREATE.KV_keys", "KV_keys", False),
        ("$JS.API.STREAM.RESTORE.KV_keys", "KV_keys", False),
    ],
)
def test_writes_to_a_stream_and_reads_of_it_are_lost_with_its_leader(
    subject: str, stream: str, lost: bool
) -> None:
    assert _is_for(subject, stream) is lost
