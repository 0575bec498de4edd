"""Build what an engine lacks of an image and of those that it stands on."""

from __future__ import annotations

import functools
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

from dctl.images.docker import Engine
from dctl.images.image import Image, is_program
from dctl.images.packages import unpacked


def missing(image: Image, present: Callable[[str], bool]) -> tuple[Image, ...]:
    """What is to be built for `image`, in that order; nothing if the engine has its tag."""
    found: list[Image] = []
    for one in reversed(image.chain()):
        if present(one.tag):
            break
        found.insert(0, one)
    return tuple(found)


def pull(reference: str, *, host: str = "") -> None:
    """Get somebody else's image from its registry."""
    Engine(host).pull(reference)


def push(tag: str, name: str, say: Callable[[str], None], *, host: str = "") -> str:
    """Give an image that the engine has as `tag` another name, and send it to the registry of that
    name; the digest under which the registry knows it."""
    engine = Engine(host)
    engine.tag(tag, name)
    return engine.push(name, functools.partial(_say_of, name, say))


def build(
    image: Image,
    say: Callable[[str], None],
    *,
    host: str = "",
    present: Callable[[str], bool] | None = None,
) -> bool:
    """Make sure that the engine has `image`; whether anything had to be built.

    `present` tells whether the engine has a tag, where a caller can ask faster than the docker
    command does.
    """
    engine = Engine(host)
    todo = missing(image, present or (lambda tag: bool(engine.image_id(tag))))
    for number, one in enumerate(todo, 1):
        say(f"building {one.tag} ({number} of {len(todo)})")
        _build(engine, one, functools.partial(_say_of, one.tag, say))
    return bool(todo)


def _say_of(tag: str, say: Callable[[str], None], text: str) -> None:
    say(f"{tag}: {text}")


def _build(engine: Engine, image: Image, say: Callable[[str], None]) -> None:
    parent = image.parent if isinstance(image.parent, str) else image.parent.tag
    with tempfile.TemporaryDirectory(prefix="draft-image-") as folder:
        dockerfile, context = Path(folder, "Dockerfile"), Path(folder, "context")
        dockerfile.write_text(f"{image.dockerfile}{_labels(image)}\n")
        if image.packages:
            say(f"packages: {len(image.packages.requirements)}")
            context = unpacked(image.packages)
        else:
            _write(image, context)
        args = {"PARENT": parent, **image.args}
        engine.build(context, dockerfile, image.tag, args, say)


def _labels(image: Image) -> str:
    """One instruction: each is a step of the build, which `docker build --label` makes many of."""
    pairs = (f"{json.dumps(key)}={json.dumps(value)}" for key, value in image.labels.items())
    return f"LABEL {' '.join(pairs)}"


def _write(image: Image, context: Path) -> None:
    """The build context; anybody may read it there, whatever the modes of the files here are."""
    for needed in ("lib", "bin"):  # a Dockerfile can only copy what is there, be it empty
        (context / needed).mkdir(parents=True)
    for name, source in image.files.items():
        target = context / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(source, bytes):
            target.write_bytes(source)
            target.chmod(0o755 if source.startswith(b"#!") else 0o644)
        else:
            target.write_bytes(source.read_bytes())
            target.chmod(0o755 if is_program(source) else 0o644)
    for made in (context, *context.rglob("*")):
        if made.is_dir():
            made.chmod(0o755)
