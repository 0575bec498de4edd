"""Blueprint under random faults: nothing acknowledged is lost, and nobody sees what cannot be.

DRAFT_FAULTS says how many faults (a few by default), DRAFT_SEED which ones. Very many:
`make bench ARGS='--only faults'`.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest

from tests.support.apart import Apart
from tests.support.faults import cluster_for_faults, history_under_faults
from tests.support.links import no_links
from tests.support.trio import Trio

FAULTS = int(os.environ.get("DRAFT_FAULTS", "3"))
SEED = int(os.environ.get("DRAFT_SEED", "0")) or random.randrange(1, 1 << 32)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trio | Apart]:
    with cluster_for_faults(tmp_path_factory.mktemp("faults")) as made:
        yield made


@pytest.mark.timeout(60 + 60 * FAULTS)
async def test_under_random_faults_everything_that_was_seen_can_be_explained(
    cluster: Trio | Apart,
) -> None:
    print(f"DRAFT_SEED={SEED} DRAFT_FAULTS={FAULTS}")
    judged = await history_under_faults(cluster, SEED, FAULTS)
    assert len(judged.faults) == FAULTS
    assert judged.operations > FAULTS


def test_links_can_be_cut_here() -> None:
    """So that a run without them shows."""
    if why := no_links():
        pytest.skip(why)
