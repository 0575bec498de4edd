"""A new user's tour: the block of the README, from an installed wheel, without the checkout, and
without a network."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.fresh import ROOT, build_wheel, install

HEAD = """\
set -euo pipefail
set -m                      # a program in the background hears Ctrl-C, too
ended() { kill -KILL %% 2>/dev/null || true; }
trap ended EXIT
"""
RUN = """\
{line} > ../run.out 2> ../run.err & RUN=$!
until grep -q "is ready at" ../run.err; do
  kill -0 $RUN || {{ cat ../run.err; exit 1; }}
  sleep 0.2
done
"""
# What the user writes into the proto: the framework's own have to be found from the wheel, too.
EDITOR = """\
#!/bin/sh
sed -i '/^package/a \\\n\\nimport "core/registry/key_value/v1/models.proto";' "$1"
sed -i '0,/string item = 1;/s//string item = 1;\\n\\n  \\/\\/ A note.\\n  NOTE/' "$1"
sed -i 's/NOTE/core.registry.key_value.v1.Value note = 2;/' "$1"
"""
# Where the ports of others are ours, too: any that are free.
ANYWHERE = """\
sed -i 's/^core: {}.*/core: {nats: {listen: 0, monitor: 0}, REST}/' cluster.yaml
sed -i 's/REST/blueprint: {listen: 0}, REST/' cluster.yaml
sed -i 's/REST/catalyst: {listen: 0}, fuse: {listen: 0}, envoy: {listen: 0, admin: 0}/' cluster.yaml
"""
END = """\
kill -INT $RUN
wait $RUN
"""


def tour(*, offline: bool) -> str:
    """The lines of the README as one script: what stays in front goes to the background until its
    service is called."""
    readme = (ROOT / "README.md").read_text()
    section = readme.split("## Your own workspace\n")[1].split("\n## ")[0]
    (block,) = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    lines = [re.sub(r"\s+#.*", "", line) for line in block.splitlines()]
    script = []
    for line in lines:
        if line.startswith("dctl run"):
            script.append(RUN.format(line=line))
        else:
            script.append(f"{line}\n")
        if "context init" in line and not offline:
            script.append(ANYWHERE)
        if line.startswith("dctl call"):
            script.append(END)
    return HEAD + "".join(script)


def alone() -> list[str]:
    """A command line in front of another, which has then no network but its own loopback: so ports
    of others are free, and who asks the outside fails."""
    if not (shutil.which("unshare") and shutil.which("ip")):
        return []
    probe = ["unshare", "-rn", "sh", "-c", "ip link set lo up"]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        return []
    return ["unshare", "-rn", "sh", "-c", 'ip link set lo up && exec "$@"', "-"]


@pytest.mark.timeout(400)
def test_the_tour_of_the_readme_goes_round_from_a_wheel_in_an_empty_folder(tmp_path: Path) -> None:
    offline = alone()
    wheel = build_wheel(tmp_path / "dist")
    programs = install(tmp_path / "venv", wheel, "all")
    home = tmp_path / "home"
    home.mkdir()
    editor = tmp_path / "editor"
    editor.write_text(EDITOR)
    editor.chmod(0o755)
    env = {
        "PATH": f"{programs}:/usr/bin:/bin:/usr/sbin:/sbin",
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "EDITOR": str(editor),
        "NO_COLOR": "1",
    }
    work = tmp_path / "work"
    work.mkdir()
    try:
        done = subprocess.run(
            [*offline, "bash", "-c", tour(offline=bool(offline))],
            cwd=work,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        said = done.stdout + done.stderr
        assert done.returncode == 0, said
        assert '"item": "book"' in done.stdout
        assert "2 passed" in done.stdout
        code = (work / "shop/api/gen/shop_api/shop/orders/v1/orders_pb2.py").read_text()
        assert "from draft_api.core.registry.key_value.v1 import models_pb2" in code
        assert str(ROOT) not in said
        run = (work / "run.err").read_text()
        assert "orders is ready at" in run
        assert "shop is down again" in run
        assert not of_this_machine(work)
    finally:
        for pid in of_this_machine(tmp_path):
            os.kill(pid, 9)


def of_this_machine(folder: Path) -> list[int]:
    """The processes that name the folder on their command line or in their environment."""
    import psutil

    found = []
    for process in psutil.process_iter():
        try:
            words = [*process.cmdline(), *process.environ().values()]
        except psutil.Error:
            continue
        if process.pid != os.getpid() and any(str(folder) in word for word in words):
            found.append(process.pid)
    return found
