"""`dctl release image` against a real registry."""

import json
import os
import secrets
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import registry
from tests.support.base_image import base_image

# The first test of a machine makes the base image, and all images on it.
pytestmark = pytest.mark.timeout(900)
ROOT = Path(__file__).parents[2]


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Path]:
    """A committed workspace with echo, whose folder has a version."""
    name, root = f"t{secrets.token_hex(4)}", tmp_path / "workspace"
    shutil.copytree(ROOT / "services" / "examples" / "echo", root / "services" / "echo")
    (root / "draft.yaml").write_text(f"name: {name}\ncluster: cluster.yaml\n")
    (root / "cluster.yaml").write_text(
        f'apiVersion: draft/v1\nkind: Cluster\nname: {name}\nimages: {{base: "{base_image()}"}}\n'
        "services: {echo: {run: services/echo}}\n"
    )
    who = ("-c", "user.name=ann", "-c", "user.email=ann@example.com")
    for command in (
        ["init", "--quiet", "--initial-branch=main"],
        ["add", "--all"],
        ["commit", "--quiet", "--message", "all"],
        ["tag", "services/echo/v1.4.0"],
    ):
        subprocess.run(["git", "-C", str(root), *who, *command], check=True, timeout=60)
    yield root
    made = subprocess.run(
        ["docker", "images", "--format", "{{.Repository}}:{{.Tag}}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    for tag in made.stdout.split():
        if name in tag or "/ship-test/" in tag:
            subprocess.run(["docker", "rmi", "-f", tag], capture_output=True)


def release(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dctl", "release", "image", *arguments, "-o", "json"],
        cwd=root, capture_output=True, text=True, timeout=600, check=False,
        env={**os.environ, "XDG_STATE_HOME": str(root.parent / "state")},
    )  # fmt: skip


def test_images_are_in_the_registry_under_their_versions_and_progress_is_told(
    workspace: Path, tmp_path: Path
) -> None:
    with registry.running(tmp_path) as address:
        done = release(workspace, "--registry", f"{address}/ship-test")
        assert done.returncode == 0, done.stderr
        items = {item["service"]: item for item in json.loads(done.stdout)["items"]}
        assert set(items) == {"core", "echo"}
        name = f"{address}/ship-test/"
        cluster = (workspace / "draft.yaml").read_text().split()[1]
        assert items["echo"]["image"] == f"{name}{cluster}-echo:1.4.0"
        assert "layers are there" in done.stderr
        for item in items.values():
            repository, _, tag = item["image"].removeprefix(f"{address}/").rpartition(":")
            asked = urllib.request.Request(
                f"http://{address}/v2/{repository}/manifests/{tag}",
                headers={"accept": "application/vnd.docker.distribution.manifest.v2+json"},
            )
            with urllib.request.urlopen(asked, timeout=10) as answer:
                assert answer.headers["docker-content-digest"] == item["digest"]


def test_a_registry_that_does_not_answer_is_told_by_its_name(workspace: Path) -> None:
    done = release(workspace, "echo", "--registry", "localhost:1/ship-test")
    assert done.returncode == 6
    assert "localhost:1/ship-test/" in done.stderr
    assert "Traceback" not in done.stderr
