"""Processes of this machine, under one supervisord per cluster.

spec.py         what is asked of a process: the shape of Resource.spec
layout.py       where everything of a cluster stands on disk
records.py      what is written down of a process: asked (manifest), running (run), ended (exit)
reader.py       look: ProcessReader, and what its answers are made of; logs.py
host.py         change: ProcessHost
supervisor.py   start, steer and end supervisord; rpc.py: its protocol; config.py: its file
launch.py       one supervisord, started; survivors.py: what an earlier one left running

Programs that supervisord's side runs (run.py starts the last two; standard library only):
supervisord.py  supervisord itself, which writes down how each process ended
shim.py         goes before each process: back-off, record, death with its parent; becomes it
keeper.py       waits for supervisord's death and starts it again, so that any one kill -9 heals
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dctl.hosts.process.host import ProcessHost
    from dctl.hosts.process.layout import (
        data_dir,
        delivered_file,
        instance_dir,
        secret_file,
    )
    from dctl.hosts.process.reader import ProcessReader
    from dctl.hosts.process.spec import ProcessSpec
    from dctl.hosts.state.folder import state_dir

__all__ = [
    "ProcessHost",
    "ProcessReader",
    "ProcessSpec",
    "data_dir",
    "delivered_file",
    "instance_dir",
    "secret_file",
    "state_dir",
]

_HOMES = {
    "ProcessHost": "dctl.hosts.process.host",
    "ProcessReader": "dctl.hosts.process.reader",
    "ProcessSpec": "dctl.hosts.process.spec",
    "data_dir": "dctl.hosts.process.layout",
    "delivered_file": "dctl.hosts.process.layout",
    "instance_dir": "dctl.hosts.process.layout",
    "secret_file": "dctl.hosts.process.layout",
    "state_dir": "dctl.hosts.state.folder",
}


def __getattr__(name: str) -> Any:
    # Lazily, because the shim passes through here each time that a process is started.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
