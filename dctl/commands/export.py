"""`dctl export`: the cluster spec as files that others run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from dctl.commands.options import spec_option, variant

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dctl.export.cluster import Exported
    from dctl.spec import Loaded

F = TypeVar("F", bound=Callable[..., Any])


@click.group()
def group() -> None:
    """The cluster spec as files that others run: a team that outgrows SSH hosts takes it along.

    \b
      dctl export compose --build --out compose.yaml && docker compose up -d
      dctl export kubernetes --registry registry.example.com/shop --tag 1.4.0 | kubectl apply -f -
    """


def _options(function: F) -> F:
    for option in (
        click.option(
            "-o", "--out", type=click.Path(path_type=Path), help="File [default: stdout]."
        ),
        click.option(
            "--registry",
            default="",
            metavar="NAME",
            help="Where the images are: registry.example.com/shop.",
        ),
        click.option(
            "--tag",
            default="latest",
            show_default=True,
            help="Of the services' images, as `dctl release image` gave it.",
        ),
    ):
        function = option(function)
    return spec_option(function)


@group.command()
@_options
@click.option("--build", is_flag=True, help="Build the images here, and name just those.")
def compose(file: Path | None, registry: str, tag: str, out: Path | None, build: bool) -> None:
    """A compose file: each instance a service, of the images that dctl builds.

    Secrets are not in it: they are files in the folder `secrets` beside it, and what looks like a
    secret in an environment is asked of yours. What cannot be said in it is told on stderr.

    \b
      dctl export compose --build --out compose.yaml
      dctl export compose --registry registry.example.com/shop --tag 1.4.0
    """
    from dctl.export.compose import FOLDER, compose

    loaded = _loaded(file)
    images = _built(loaded) if build else _released(loaded, registry, tag)
    exported = compose(loaded, images)
    _write(loaded, exported, out, "docker compose")
    _tell_secrets(
        exported,
        f"make these before `docker compose up`, as files in {FOLDER}/ beside it, which others may"
        " read (mode 0444), in a folder that they may not enter (0700):",
        lambda name: name if name.startswith("$") else f"{FOLDER}/{name}",
    )


@group.command()
@_options
@click.option("--ingress", metavar="HOST", help="An Ingress for that name in front of Envoy.")
@click.option("--storage-class", metavar="NAME", help="Of the volumes [default: the cluster's].")
def kubernetes(
    file: Path | None,
    registry: str,
    tag: str,
    out: Path | None,
    ingress: str | None,
    storage_class: str | None,
) -> None:
    """Manifests for Kubernetes, all in a namespace that is named like the cluster.

    Secrets are not in them: they refer to Secrets that you make first, which are told on stderr,
    with all that cannot be said in manifests.

    \b
      dctl export kubernetes --registry registry.example.com/shop --tag 1.4.0 --out shop.yaml
      dctl export kubernetes --ingress shop.example.com
    """
    from dctl.export.kubernetes import kubernetes

    loaded = _loaded(file)
    exported = kubernetes(
        loaded,
        _released(loaded, registry, tag),
        ingress=ingress or "",
        storage_class=storage_class or "",
    )
    _write(loaded, exported, out, "Kubernetes")
    namespace = loaded.cluster.name
    _tell_secrets(
        exported,
        f"make these first (kubectl create namespace {namespace}, then each with"
        f" kubectl -n {namespace} create secret generic NAME --from-file=value=FILE):",
        lambda name: name,
    )


def _loaded(file: Path | None) -> Loaded:
    from dctl.workspace import load_spec

    loaded = load_spec(file, variant())
    if loaded.cluster.security.tls:
        why = "cannot be exported: dctl makes the certificates; merge `tls: false` over it with -e"
        loaded.refuse([(("security", "tls"), why)])
    return loaded


def _released(loaded: Loaded, registry: str, tag: str) -> Mapping[str, str]:
    from dctl import __version__
    from dctl.export.site import images_of

    return images_of(loaded.cluster, registry, tag, __version__)


def _built(loaded: Loaded) -> Mapping[str, str]:
    from dctl.images import build, core_image, read_base, service_image
    from dctl.workspace import generated

    def say(text: str) -> None:
        click.echo(text, err=True)

    base = read_base(loaded.cluster.images.base, say)
    images = {"core": core_image(base)}
    for name, service in loaded.cluster.services.items():
        if service.run:
            images[name] = service_image(
                base,
                cluster=loaded.cluster.name,
                service=name,
                folder=loaded.root / service.run,
                api=generated(loaded.root),
            )
    for image in images.values():
        build(image, say)
    return {name: image.tag for name, image in images.items()}


def _write(loaded: Loaded, exported: Exported, out: Path | None, engine: str) -> None:
    from dctl import __version__
    from dctl.export.text import to_text

    head = f"{loaded.cluster.name} for {engine}, written by dctl {__version__} from {loaded.path}"
    text = to_text(exported.documents, head)
    if out is None:
        click.echo(text, nl=False)
    else:
        out.write_text(text, encoding="utf-8")
        click.echo(str(out), err=True)
    for note in exported.notes:
        click.echo(note.shown(loaded), err=True)


def _tell_secrets(exported: Exported, how: str, shown: Callable[[str], str]) -> None:
    if exported.secrets:
        click.echo(how, err=True)
    for name, words in exported.secrets.items():
        click.echo(f"  {shown(name)}: {words}", err=True)
