"""Software, brought to a machine: packed here, whole there or not at all, old versions let go."""

from __future__ import annotations

import io
import json
import re
import shlex
import tarfile
import tempfile
from pathlib import Path

from dctl.errors import DctlError
from dctl.hosts.ssh.fleet import Fleet
from dctl.hosts.ssh.whole import source
from dctl.hosts.systemd.layout import OPT
from dctl.hosts.systemd.software import Software
from dctl.images.image import is_program
from dctl.images.packages import VENV_PYTHON, unpacked

_PATIENCE = 600.0  # seconds, for some 100 MB over a slow line
# Of each title: those that nothing names any more, but somebody may go back to.
_KEPT = 3
# Seconds. What is younger may be what another dctl has just brought and is about to start.
_YOUNG = 24 * 3600.0
# Into a folder that is there whole or not at all. Its Python is compiled, for those who run it may
# not write there; what starts it has to be compilable, while packages carry templates named *.py.
_UNPACK = """\
set -eu
umask 022
export LC_ALL=C
new="$1.$$.new"
trap 'rm -rf "$new"' EXIT
mkdir -p -m 755 "$new"
tar -xzf - -C "$new" --no-same-owner
test -z "$2" || "$new/bin/python" -m py_compile "$new/$2"
"$new/bin/python" -m compileall -q -j 0 "$new" > /dev/null 2>&1 || true
mv -T "$new" "$1" 2> /dev/null || test -d "$1"
"""


def install(fleet: Fleet, host: str, software: Software) -> bool:
    """Bring it and all that it stands on to a machine, unless it is there; whether something had
    to be brought."""
    chain = {one.folder: one for one in software.chain()}
    look = f"for d in {shlex.join(chain)}; do test -d $d || echo $d; done"
    answer = fleet.run(host, look, what="the look at what it runs from", sudo=False)
    lacking = [chain[folder] for folder in answer.out.split()]
    for one in lacking:
        _bring(fleet, host, one)
    if lacking:
        prune(fleet, host)
    return bool(lacking)


def prune(fleet: Fleet, host: str, *, kept: int = _KEPT, young: float = _YOUNG) -> tuple[str, ...]:
    """Remove what no cluster of the machine runs or may go back to, but for the last `kept`
    versions of each; which folders that were."""
    line = ["python3", "-c", source(sweep), OPT, str(kept), str(young)]
    answer = fleet.run(host, shlex.join(line), what="removing old software", timeout=_PATIENCE)
    return tuple(answer.out.split())


def pack(software: Software, archive: Path) -> None:
    """Lay it out as one archive: a virtual environment on the machine's own Python."""
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        config = (
            f"home = /usr/bin\ninclude-system-site-packages = false\nversion = {software.python}\n"
        )
        _add(tar, "pyvenv.cfg", config.encode(), 0o644)
        below = [one.digest for one in software.chain()[:-1]]
        about = json.dumps({"title": software.title, "below": below})
        _add(tar, "draft.json", about.encode(), 0o644)
        link = tarfile.TarInfo("bin/python")
        link.type, link.linkname = tarfile.SYMTYPE, f"/usr/bin/python{software.python}"
        tar.addfile(link)
        if software.below:
            # With what that stands on, in turn.
            path = f"{software.below.folder}/{software.below.library}"
            line = f"import site; site.addsitedir({path!r})\n"
            _add(tar, f"{software.library}/below.pth", line.encode(), 0o644)
        if software.packages:
            kept = unpacked(software.packages)
            tar.add(kept / "lib", software.library, filter=_plain)
            for program in sorted((kept / "bin").iterdir()):
                content = program.read_bytes()
                if content.startswith(b"#!"):
                    content = content.replace(
                        VENV_PYTHON.encode(), software.interpreter.encode(), 1
                    )
                _add(tar, f"bin/{program.name}", content, 0o755)
        for path, file in sorted(software.files.items()):
            place = re.sub("^lib/", f"{software.library}/", path)
            runs = path.startswith("bin/") or (isinstance(file, Path) and is_program(file))
            content = file if isinstance(file, bytes) else file.read_bytes()
            _add(tar, place, content, 0o755 if runs else 0o644)


def sweep() -> None:
    """Runs on the machine: remove what is old, and print what that was."""
    import glob
    import json
    import os
    import re
    import shutil
    import sys
    import time

    opt, kept, young = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    named = set()
    for pattern in (
        "/etc/systemd/system/draft-*.service",
        "/etc/draft/*/*/asked.json",
        "/var/lib/draft/*/run/*.json",
        "/var/lib/draft/*/releases/*.json",
    ):
        for path in glob.glob(pattern):
            with open(path, errors="replace") as file:
                named.update(re.findall(re.escape(opt) + "/([0-9a-f]{12})", file.read()))
    versions: dict[str, list[str]] = {}
    below, age = {}, {}
    for name in os.listdir(opt) if os.path.isdir(opt) else ():
        try:
            with open(f"{opt}/{name}/draft.json") as file:
                about = json.load(file)
        except (OSError, ValueError):
            about = {}
        age[name] = time.time() - os.stat(f"{opt}/{name}").st_mtime
        below[name] = about.get("below", [])
        if not name.endswith(".new"):
            versions.setdefault(about.get("title", ""), []).append(name)
    for those in versions.values():
        named.update(sorted(those, key=age.__getitem__)[:kept])
    named.update(name for name in age if age[name] < young)
    named.update(deeper for name in list(named) for deeper in below.get(name, ()))
    for name in sorted(age.keys() - named):
        gone = f"{opt}/{name}" if name.endswith(".new") else f"{opt}/{name}.new"
        if not os.path.lexists(gone):
            os.rename(f"{opt}/{name}", gone)  # never there in half
        shutil.rmtree(gone, ignore_errors=True)
        print(f"{opt}/{name}")


def _bring(fleet: Fleet, host: str, software: Software) -> None:
    main = "app/main.py" if "app/main.py" in software.files else ""
    command = shlex.join(["sh", "-c", _UNPACK, "sh", software.folder, main])
    what = f"bringing {software.title or software.folder}"
    with tempfile.TemporaryDirectory(prefix="draft-") as folder:
        archive = Path(folder, "software.tar.gz")
        pack(software, archive)
        answer = fleet.send(host, command, archive, what=what, timeout=_PATIENCE)
    if answer.code:
        if re.search("No space left|Wrote only", answer.err):
            raise DctlError(
                f"{what} to {host} failed: no space is left on the disk of {OPT}",
                hint="nothing of it was left there: make room, and do the same again",
            )
        raise DctlError(f"{what} to {host} failed: {answer.words}")


def _add(tar: tarfile.TarFile, path: str, content: bytes, mode: int) -> None:
    entry = tarfile.TarInfo(path)
    entry.size, entry.mode = len(content), mode
    tar.addfile(entry, io.BytesIO(content))


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Readable by all, and nobody's in particular."""
    if "__pycache__" in entry.name:
        return None
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
    return entry
