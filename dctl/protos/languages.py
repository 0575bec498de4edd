"""The protos in other languages than Python, by buf and the plugin that each language has.

Only those that draft.yaml names: what is generated must not depend on what a machine happens to
have. A plugin that is not there is named, and the rest goes on.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dctl.protos import tools


@dataclass(frozen=True, slots=True)
class Language:
    """Its plugin, how that is got, the folder of what it gives, and its options. `also` is a
    further plugin for the services, where it is another one."""

    plugin: str
    install: str
    folder: str
    options: tuple[str, ...]
    also: str = ""


LANGUAGES: Mapping[str, Language] = {
    "go": Language(
        "protoc-gen-go",
        "go install google.golang.org/protobuf/cmd/protoc-gen-go@latest",
        "go",
        ("paths=source_relative",),
        also="protoc-gen-go-grpc",
    ),
    "typescript": Language(
        "protoc-gen-es", "npm install -g @bufbuild/protoc-gen-es", "ts", ("target=ts",)
    ),
}


def plugins(languages: Iterable[str], root: Path) -> tuple[dict[str, str], list[str]]:
    """The plugin of each language, on PATH or among the workspace's node modules; and what to say
    of those that are not there."""
    found, missing = {}, []
    for name in languages:
        language = LANGUAGES[name]
        own = root / "node_modules" / ".bin" / language.plugin
        path = str(own) if own.is_file() else shutil.which(language.plugin)
        if path:
            found[name] = path
        else:
            missing.append(f"no {name}: {language.plugin} is not here ({language.install})")
    return found, missing


def fingerprint(found: Mapping[str, str]) -> dict[str, str]:
    """What tells that a plugin is another one by now."""
    return {name: f"{path} {Path(path).stat().st_mtime_ns}" for name, path in found.items()}


def generate(folder: Path, out: Path, found: Mapping[str, str], repo: str) -> tuple[str, ...]:
    """Write what the plugins give for the protos under `folder`, the framework's that they import
    included, anew: each into a folder of its own under `out`. Returns the names of these."""
    for name, plugin in found.items():
        language = LANGUAGES[name]
        target = (out / language.folder).absolute()
        options = list(language.options)
        if name == "typescript":
            options.append("import_extension=none")
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        paths = [plugin, *filter(None, [shutil.which(language.also) if language.also else None])]
        plugins = [{"local": path, "out": str(target), "opt": options} for path in paths]
        template: dict[str, Any] = {"version": "v2", "plugins": plugins}
        if name == "go" and repo:
            prefix = {"file_option": "go_package_prefix", "value": f"{repo}/{language.folder}"}
            template["managed"] = {"enabled": True, "override": [prefix]}
        words = ("--template", json.dumps(template), "--include-imports")
        tools.buf("generate", *words, folder=folder)
    return tuple(LANGUAGES[name].folder for name in found)


def there(out: Path, found: Iterable[str]) -> bool:
    """Whether each has its folder."""
    return all((out / LANGUAGES[name].folder).is_dir() for name in found)
