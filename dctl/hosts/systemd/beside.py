"""Runs on the machine: a command beside an instance, as its user, in its environment and folder.

It is sent as text on the command line, for standard input is the command's own. Arguments: the
instance's manifest, the user, the folder of its data, the command.
"""

import json
import os
import subprocess
import sys


def main(manifest: str, user: str, data: str, *argv: str) -> int:
    """Run it to its end: its exit status, 128 + n when signal n ended it."""
    with open(manifest, encoding="utf-8") as file:
        spec = json.load(file)["spec"]
    env = {name: os.environ[name] for name in ("PATH", "TERM", "LANG") if name in os.environ}
    try:
        code = subprocess.call(
            argv,
            env={**env, **spec["env"]},
            cwd=spec["cwd"] or data,
            user=user,
            group=user,
            extra_groups=[],
        )
    except OSError as error:
        print(f"{argv[0]} cannot be run: {error.strerror}", file=sys.stderr)
        code = 127
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
