"""dctl test: the workspace's tests, against a cluster of their own."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dctl.commands.infra.apply import progress_option
from dctl.commands.options import spec_option, variant
from dctl.errors import NotFoundError

if TYPE_CHECKING:
    from dctl.engine.cluster import OpenCluster
    from dctl.render.progress import Mode


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("--no-cluster", is_flag=True, help="Raise none: for tests that need none.")
@spec_option
@progress_option
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[-- PYTEST ARGUMENTS...]")
def command(no_cluster: bool, file: Path | None, mode: Mode, arguments: tuple[str, ...]) -> int:
    """Run the workspace's tests with pytest, against a throwaway cluster.

    The whole cluster of the spec is raised beside any other, under a name and on ports of its own,
    with a state folder that goes with it; at the end, whatever that is, nothing of it is left.
    Tests find it through `chassis.testing.client`, or by DRAFT_TEST_BLUEPRINT, DRAFT_TEST_CATALYST,
    DRAFT_TEST_FUSE and DRAFT_TEST_INGRESS (host:port). Exits with pytest's exit code.

    \b
      dctl test
      dctl test services/shop/orders
      dctl test -- -k create -x
    """
    from dctl.workspace import generated, load_spec

    loaded = load_spec(file, variant())
    python = _python(loaded.root)
    env = dict(os.environ)
    if api := generated(loaded.root):
        env["PYTHONPATH"] = os.pathsep.join(filter(None, (str(api.parent), env.get("PYTHONPATH"))))
    if no_cluster:
        return _pytest(python, arguments, loaded.root, env)

    from dctl.dev.debts import Book, Debts
    from dctl.dev.keeper import Keeper
    from dctl.dev.lend import reopen, taken
    from dctl.dev.throwaway import throwaway
    from dctl.hosts.state.folder import state_dir
    from dctl.render.narration import narrator

    data = throwaway(loaded, secrets.token_hex(3))
    scratch = tempfile.mkdtemp(prefix="draft-test-")
    os.environ["XDG_STATE_HOME"] = scratch  # ours, and that of all that we start but the tests
    spec = taken(loaded, data, variant().profiles)
    book = Book.begin(state_dir(data["name"]) / "dev")
    book.write(Debts(spec=spec, throwaway=scratch))
    keeper = Keeper(book)
    try:
        cluster = reopen(spec, book.path.parent, narrator)
        _raise(cluster, mode)
        return _pytest(python, arguments, loaded.root, env | _told(cluster, Path(scratch)))
    finally:
        keeper.settle()


def _raise(cluster: OpenCluster, mode: Mode) -> None:
    from dctl.commands.infra.apply import carry_out

    made = cluster.plan()
    click.echo(f"raising {cluster.name}", err=True)
    carry_out(cluster, made, cluster.apply, "plain" if mode == "auto" else mode, ask="")


def _told(cluster: OpenCluster, folder: Path) -> dict[str, str]:
    """Where it is, and by which files to prove who calls, where it asks for that."""
    from dctl.dev.throwaway import addresses
    from dctl.hosts.state.files import write_whole

    ports = {
        seen.service: {
            name: cluster.readers[seen.host].reach(port) for name, port in seen.ports.items()
        }
        for seen in cluster.things()
    }
    told = {"DRAFT_TEST_CLUSTER": cluster.name, **addresses(ports)}
    proofs = {"DRAFT_TEST_PROOF_FILE": cluster.own.proof()}
    if cluster.spec.security.tls and (own := cluster.own.identity()):
        proofs["DRAFT_TEST_TLS_FILE"] = (own.key + own.certificate + own.authority).decode("ascii")
    for variable, text in proofs.items():
        if text:
            told[variable] = str(folder / variable.lower())
            write_whole(folder / variable.lower(), text)
    return told


def _pytest(python: str, arguments: tuple[str, ...], root: Path, env: dict[str, str]) -> int:
    from dctl import leash
    from dctl.hosts.attached import run_attached

    words = [word for word in arguments if word != "--"]
    here = os.path.relpath(Path.cwd(), root)
    paths = [] if here == "." or here.startswith("..") or words else [here]
    argv = [sys.executable, "-ISB", leash.__file__, str(os.getpid()), python, "-m", "pytest"]
    return run_attached([*argv, *words, *paths], env=env, cwd=str(_cwd(root, words)))


def _cwd(root: Path, words: list[str]) -> Path:
    """Paths are as they were typed, where any was."""
    inside = Path.cwd().is_relative_to(root)
    return Path.cwd() if words and inside else root


def _python(root: Path) -> str:
    """The workspace's own interpreter if it has one, else dctl's; it has to have pytest."""
    own = root / ".venv" / "bin" / "python"
    python = str(own) if own.exists() else sys.executable
    probe = "import importlib.util, sys; sys.exit(importlib.util.find_spec('pytest') is None)"
    if subprocess.run([python, "-c", probe], timeout=30, check=False).returncode:
        raise NotFoundError(f"{python} has no pytest", hint='pip install "draft[dev]", there')
    return python
