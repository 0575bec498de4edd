"""pyinfra as its own command line uses it: a deploy is added, then all operations run. A process of
benchmarks/remote.py; its argument is a file that tells the machines and what is asked of each."""

from gevent import monkey

monkey.patch_all()

import json  # noqa: E402
import sys  # noqa: E402
from io import StringIO  # noqa: E402
from pathlib import Path  # noqa: E402

from pyinfra.api import Config, Inventory, State, deploy  # noqa: E402
from pyinfra.api.connect import connect_all  # noqa: E402
from pyinfra.api.deploy import add_deploy  # noqa: E402
from pyinfra.api.operations import run_ops  # noqa: E402
from pyinfra.context import ctx_state, host  # noqa: E402
from pyinfra.operations import files, server, systemd  # noqa: E402


@deploy("ten things")  # type: ignore[untyped-decorator]
def ten_things() -> None:
    """Those of one machine."""
    its = host.data.its
    server.group(group=its["user"], system=True)
    server.user(
        user=its["user"],
        group=its["user"],
        system=True,
        ensure_home=False,
        home=its["home"],
        shell="/usr/sbin/nologin",
    )
    for path, mode, user, group in its["folders"]:
        files.directory(path=path, mode=mode, user=user, group=group)
    for path, content, mode, user, group in its["files"]:
        files.put(src=StringIO(content), dest=path, mode=mode, user=user, group=group)
    systemd.service(service=its["unit"], running=True, enabled=True)


def main(file: str) -> None:
    """All of it on all machines; an error when something would change."""
    given = json.loads(Path(file).read_text())
    hosts = [
        (told["name"], {"ssh_hostname": told["address"], "ssh_key": told["key"], "its": its})
        for told, its in zip(given["hosts"], given["asked"], strict=True)
    ]
    shared = {
        "ssh_user": "deploy",
        "ssh_known_hosts_file": given["known"],
        "ssh_strict_host_key_checking": "yes",
    }
    state = State(Inventory((hosts, shared)), Config(SUDO=True))
    with ctx_state.use(state):
        connect_all(state)
        add_deploy(state, ten_things)
        run_ops(state)
        for one in state.inventory:
            meta = state.get_meta_for_host(one)
            assert (meta.ops, meta.ops_change) == (10, 0), (one, meta.ops, meta.ops_change)


if __name__ == "__main__":
    main(sys.argv[1])
