"""A process as a systemd unit: its text, and what differs in one that somebody edited. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from dctl.hosts.base import Json
from dctl.hosts.process.spec import ProcessSpec
from dctl.hosts.systemd.layout import Layout

_RESTART = {"always": "always", "on-failure": "on-failure", "never": "no"}
# From the shortest wait to the longest in this many steps, where systemd can (254).
_STEPS = 5
# How systemd writes spans of time.
_SECONDS = {"h": 3600.0, "min": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6}
_HARDENING = """\
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
PrivateDevices=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectControlGroups=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
"""


def unit_text(layout: Layout, instance: str, manifest: Mapping[str, Json]) -> str:
    """The unit for what a manifest asks. It holds no secret: everybody may read a unit."""
    spec = ProcessSpec.from_json(manifest["spec"])
    data = layout.data(instance)
    low = any(0 < port < 1024 for _, port in manifest["ports"].values())
    credentials = "".join(
        f"LoadCredential={name}:{layout.secrets(instance)}/{name}\n"
        for name in sorted(spec.digests)
    )
    bounding = "CAP_NET_BIND_SERVICE" if low else ""
    return f"""\
# Made by dctl, which shows what is changed here as drift.
# draft-cluster: {layout.cluster}
# draft-instance: {instance}
# draft-digest: {manifest["digest"]}

[Unit]
Description={_plain(f"{instance} of {layout.cluster}")}
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=0

[Service]
Type=exec
User={layout.user}
Group={layout.user}
WorkingDirectory={_plain(spec.cwd or data)}
EnvironmentFile={layout.env(instance)}
{credentials}\
ExecStartPre=+/usr/bin/install -m 600 {layout.asked(instance)} {layout.running(instance)}
ExecStart=:{" ".join(map(quoted, spec.argv))}
ExecStopPost=+/bin/sh -c 'echo "$$EXIT_CODE $$EXIT_STATUS" > {layout.ended(instance)}'
Restart={_RESTART[spec.restart]}
RestartSec={spec.backoff[0]:g}
RestartSteps={_STEPS}
RestartMaxDelaySec={spec.backoff[1]:g}
KillSignal=SIG{spec.stop_signal}
TimeoutStopSec={spec.stop_timeout:g}
LimitNOFILE=65536
{_limits(spec)}ReadWritePaths={data}
CapabilityBoundingSet={bounding}
AmbientCapabilities={bounding}
{_HARDENING}
[Install]
WantedBy=multi-user.target
"""


def _limits(spec: ProcessSpec) -> str:
    memory = "" if spec.memory is None else f"MemoryMax={spec.memory}\n"
    return memory + ("" if spec.cpus is None else f"CPUQuota={spec.cpus * 100:g}%\n")


def limits_of(shown: Mapping[str, str]) -> tuple[int | None, float | None]:
    """The memory (bytes) and the CPUs that systemd allows a unit; None for no limit."""
    memory = shown.get("MemoryMax", "infinity")
    quota = shown.get("CPUQuotaPerSecUSec", "infinity")
    seconds = sum(
        float(number) * _SECONDS[unit]
        for number, unit in re.findall(r"([\d.]+)(min|ms|us|h|s)", quota)
    )
    return int(memory) if memory.isdecimal() else None, round(seconds, 6) or None


def env_text(env: Mapping[str, str]) -> str:
    """The variables, for EnvironmentFile=; only root reads it."""
    lines = []
    for name, value in sorted(env.items()):
        escaped = re.sub(r'(["\\`$])', r"\\\1", value)
        lines.append(f'{name}="{escaped}"\n')
    return "".join(lines)


def env_of(text: str) -> dict[str, str]:
    """The inverse of `env_text`, which also reads what people write."""
    found = {}
    pattern = r'^\s*([A-Za-z_]\w*)=(?:"((?:\\.|[^"\\])*)"|(.*))$'
    for match in re.finditer(pattern, text, re.MULTILINE):
        name, in_quotes, bare = match.groups()
        if in_quotes is None:
            found[name] = bare.strip()
        else:
            found[name] = re.sub(r"\\(.)", r"\1", in_quotes, flags=re.DOTALL)
    return found


def owner(text: str) -> str:
    """The cluster that a unit names as its own; "" when dctl did not make it."""
    match = re.search(r"^# draft-cluster: (\S+)$", text, re.MULTILINE)
    return match[1] if match else ""


def edits(found: str, wanted: str) -> dict[str, dict[str, str]]:
    """What somebody changed in a unit: section -> key -> the value that stands there now."""
    there, asked = _parsed(found), _parsed(wanted)
    changed: dict[str, dict[str, str]] = {}
    for section, key in sorted(there.keys() | asked.keys()):
        if there.get((section, key)) != asked.get((section, key)):
            value = there.get((section, key))
            changed.setdefault(section, {})[key] = "removed" if value is None else value
    return changed


def _parsed(text: str) -> dict[tuple[str, str], str]:
    found: dict[tuple[str, str], str] = {}
    section = ""
    for line in re.sub(r"\\\n", " ", text).splitlines():
        line = line.strip()
        if line.startswith("["):
            section = line.strip("[]")
        elif "=" in line and line[0] not in "#;":
            key, _, value = line.partition("=")
            place = (section, key.strip())
            found[place] = f"{found[place]}; {value.strip()}" if place in found else value.strip()
    return found


def quoted(word: str) -> str:
    """One word of a command line. systemd expands % everywhere; $ is left alone after a colon."""
    word = word.replace("%", "%%")
    if re.fullmatch(r"[\w%+,./:=@-]+", word, re.ASCII):
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    escaped = escaped.replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'


def _plain(text: str) -> str:
    return text.replace("%", "%%")
