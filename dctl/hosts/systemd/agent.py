"""Runs on the machine: everything that dctl asks of one in a single round trip.

It is sent as text, with what it imports from there/, and needs Python 3.9's standard library only.
Its arguments are a verb (a function here) and the cluster's layout; what the verb needs comes as
JSON, as a third argument or through standard input, and the answer is JSON, too. What a look does
not need is imported where it is used: imports are half of what a look costs a machine.
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
import pwd
import subprocess
import sys
import time

from dctl.hosts.systemd.there.files import listed, read, read_json, unlink, write
from dctl.hosts.systemd.there.lock import break_lock, holder, lock  # noqa: F401 (verbs)
from dctl.hosts.systemd.there.ports import free_port, port_owner, probe  # noqa: F401 (verbs)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SHOWN = (
    "Id,ActiveState,NRestarts,MainPID,ExecMainStartTimestampMonotonic,NeedDaemonReload,"
    "DropInPaths,MemoryMax,CPUQuotaPerSecUSec"
)
# systemd's "a stop job was begun", by its message id.
_STOP_JOB = "de5b426a63be47a7b6ac3eaac82e2f6f"
_LARGEST_FILE = 65536  # of a changed file, what is told
_LARGEST_JOURNAL = 1 << 20  # bytes; when there is more, the older half goes
_RELEASES = 10


# Looking


def observe(at: Any, asked: Any) -> Any:
    found = {"facts": facts(at), "things": []}
    names = {path.split("/")[-2] for path in glob.glob(at["etc"] + "/*/asked.json")}
    prefix = at["units"] + "/draft-" + at["cluster"] + "-"
    for path in glob.glob(prefix + "*.service"):
        names.add(path[len(prefix) : -len(".service")])
    units = {name: unit_name(at, name) for name in sorted(names)}
    shown = show(list(units.values()))
    for name, unit in units.items():
        manifest = read_json(asked_file(at, name))
        said = shown.get(unit, {})
        run = at["var"] + "/run/" + name
        begun = changed(run + ".json")
        found["things"].append(
            {
                "name": name,
                "unit": read(at["units"] + "/" + unit),
                "asked": manifest,
                "running": read_json(run + ".json"),
                "env": read(at["etc"] + "/" + name + "/env"),
                "files": changed_files(at, name, manifest),
                "ended": (read(run + ".exit") or "").strip(),
                "over": begun > 0 and changed(run + ".exit") >= begun,
                "show": said,
                "told": was_told(unit, said, begun),
                "age": age(said),
            }
        )
    return found


def facts(at: Any) -> Any:
    glibc = os.confstr("CS_GNU_LIBC_VERSION") or "glibc 2.0"
    return {
        "python": "{}.{}".format(*sys.version_info),
        "machine": os.uname().machine,
        "glibc": int(glibc.split(".")[1]),
        "environments": sorted(d for d in listed(at["opt"]) if not d.endswith(".new")),
    }


def show(units: Any) -> Any:
    if not units:
        return {}
    done = subprocess.run(
        ["systemctl", "show", "-p", _SHOWN, "--", *units], stdout=subprocess.PIPE, text=True
    )
    found = {}
    for block in done.stdout.strip().split("\n\n"):
        said = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        found[said.get("Id", "")] = said
    return found


def changed_files(at: Any, name: Any, manifest: Any) -> Any:
    """The content of each file that is not as it was asked: None when it is gone."""
    root = at["etc"] + "/" + name + "/files"
    found = {}
    if manifest:
        for path, text in manifest["spec"]["files"].items():
            there = read(root + "/" + path)
            if there != text:
                found[path] = there if there is None else there[:_LARGEST_FILE]
    return found


def was_told(unit: Any, said: Any, begun: Any) -> Any:
    """Whether somebody stopped what ended well: systemd itself does not tell it from a job that
    is done."""
    if said.get("ActiveState") != "inactive" or not begun:
        return False
    done = subprocess.run(
        ["journalctl", "-q", "-o", "cat", "-n", "1", "--since", f"@{int(begun)}", "UNIT=" + unit,
         "MESSAGE_ID=" + _STOP_JOB],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    return bool(done.stdout.strip())


def changed(path: Any) -> Any:
    """When, in seconds since the epoch; 0 when it is not there."""
    try:
        return os.stat(path).st_mtime_ns / 1e9
    except FileNotFoundError:
        return 0


def age(said: Any) -> Any:
    """Seconds since it was started. Not when that was: clocks of machines differ."""
    micro = int(said.get("ExecMainStartTimestampMonotonic") or 0)
    return time.monotonic() - micro / 1e6 if micro else None


def journal(at: Any, asked: Any) -> Any:
    return read(at["var"] + "/journal.jsonl") or ""


def releases(at: Any, asked: Any) -> Any:
    found = (read_json(path) for path in release_files(at))
    return [release for release in found if release]


def machines(at: Any, asked: Any) -> Any:
    return read_json(at["var"] + "/machines.json") or {}


def secret(at: Any, asked: Any) -> Any:
    return read(at["var"] + "/secrets/" + asked["name"]) or ""


def given(at: Any, asked: Any) -> Any:
    """The secrets that an instance was given."""
    folder = at["etc"] + "/" + asked["name"] + "/secrets"
    return {name: read(folder + "/" + name) for name in listed(folder) if name[0] != "."}


# Changing


def hold(at: Any, asked: Any) -> Any:
    """Note that an instance is stopped on purpose, or not any more; False when it is not there."""
    path = asked_file(at, asked["name"])
    manifest = read_json(path)
    if manifest is None:
        return False
    write(path, json.dumps({**manifest, "held": asked["held"]}, sort_keys=True))
    return True


def control(at: Any, asked: Any) -> Any:
    """systemctl with a verb, for instances; what it says when it fails."""
    units = [unit_name(at, name) for name in asked["names"]]
    return systemctl(*asked["verb"], "--", *units) if units else ""


def end(at: Any, asked: Any) -> Any:
    """Stop instances, and keep them from starting with the machine."""
    units = [unit_name(at, name) for name in asked["names"]]
    problem = systemctl("stop", "--", *units)
    systemctl("disable", "--", *units)
    return problem


def remove(at: Any, asked: Any) -> Any:
    """End instances and forget what was asked of them."""
    import shutil

    problem = ""
    for name in asked["names"]:
        unit = unit_name(at, name)
        path = at["units"] + "/" + unit
        text = read(path)
        if text is not None and "\n# draft-cluster: {}\n".format(at["cluster"]) not in text:
            continue  # somebody else's
        problem = problem or end(at, {"names": [name]})
        unlink(path)
        for left in (name + ".json", name + ".exit"):
            unlink(at["var"] + "/run/" + left)
        shutil.rmtree(at["etc"] + "/" + name, ignore_errors=True)
    systemctl("daemon-reload")
    systemctl("reset-failed", *(unit_name(at, name) for name in asked["names"]))
    return problem


def forget(at: Any, asked: Any) -> Any:
    """Remove all that is kept of the cluster, and its user."""
    import shutil

    for root in (at["etc"], at["var"]):
        shutil.rmtree(root, ignore_errors=True)
        with contextlib.suppress(OSError):
            os.rmdir(os.path.dirname(root))
    if not os.path.isdir(os.path.dirname(at["etc"])):
        shutil.rmtree(at["opt"], ignore_errors=True)  # the machine's last cluster
    subprocess.run(["userdel", at["user"]], stderr=subprocess.DEVNULL)
    subprocess.run(["groupdel", at["user"]], stderr=subprocess.DEVNULL)
    return True


def keep_secret(at: Any, asked: Any) -> Any:
    import secrets

    path = at["var"] + "/secrets/" + asked["name"]
    kept = read(path)
    text = asked["text"] or kept or secrets.token_urlsafe(32)
    if text != kept:
        write(path, text, 0o640, group(at))
    return True


def group(at: Any) -> Any:
    """That of the cluster's user; root's where its things run as containers."""
    try:
        return pwd.getpwnam(at["user"]).pw_gid
    except KeyError:
        return 0


def marks(at: Any, asked: Any) -> Any:
    folder = at["var"] + "/marks"
    return {name: read(folder + "/" + name) for name in listed(folder) if name[0] != "."}


def mark(at: Any, asked: Any) -> Any:
    path = at["var"] + "/marks/" + asked["name"]
    if asked["mark"]:
        write(path, asked["mark"])
    else:
        unlink(path)
    return True


def record(at: Any, asked: Any) -> Any:
    path = at["var"] + "/journal.jsonl"
    os.makedirs(at["var"], exist_ok=True)
    with open(path, "a+b") as file:
        size = file.seek(0, os.SEEK_END)
        start = b""
        if size:
            file.seek(size - 1)
            start = b"" if file.read(1) == b"\n" else b"\n"  # a crash cut the last one off
        file.write(start + json.dumps(asked, sort_keys=True).encode() + b"\n")
        file.flush()
        os.fchmod(file.fileno(), 0o600)
        os.fsync(file.fileno())
    if size > _LARGEST_JOURNAL:
        text = read(path)[-_LARGEST_JOURNAL // 2 :]
        write(path, text[text.index("\n") + 1 :])
    return True


def keep_release(at: Any, asked: Any) -> Any:
    path = "{}/releases/{:08}.json".format(at["var"], asked["id"])
    write(path, json.dumps(asked, sort_keys=True))
    for old in release_files(at)[:-_RELEASES]:
        unlink(old)
    return True


def keep_machines(at: Any, asked: Any) -> Any:
    write(at["var"] + "/machines.json", json.dumps(asked, sort_keys=True))
    return True


# Small things


def systemctl(*words: str) -> Any:
    done = subprocess.run(
        ["systemctl", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    said = done.stdout.strip() or f"systemctl ended with {done.returncode}"
    return said if done.returncode else ""


def unit_name(at: Any, name: Any) -> Any:
    return "draft-" + at["cluster"] + "-" + name + ".service"


def asked_file(at: Any, name: Any) -> Any:
    return at["etc"] + "/" + name + "/asked.json"


def release_files(at: Any) -> Any:
    return sorted(glob.glob(at["var"] + "/releases/[0-9]*.json"))


def main(verb: str, layout: str, given: str = "") -> None:
    text = given or sys.stdin.read()
    print(json.dumps(globals()[verb](json.loads(layout), json.loads(text))), flush=True)
