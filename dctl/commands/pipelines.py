"""`dctl pipelines`: build, test and deploy a workspace on Kubernetes, by Tekton."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from dctl.commands.options import context_option, output_option, variant, workspace
from dctl.errors import UsageError

if TYPE_CHECKING:
    from dctl.pipelines.kubectl import Kubectl
    from dctl.pipelines.manifests import Wanted

F = TypeVar("F", bound=Callable[..., Any])

_FOLDER = "pipelines"
_DASHBOARD = 9097
_KINDS = "pipelineruns.tekton.dev,pipelines.tekton.dev,tasks.tekton.dev,serviceaccounts"


@click.group()
def group() -> None:
    """Build, test and deploy the workspace on Kubernetes, by Tekton.

    The kube context is always shown and confirmed. Without a terminal it has to be named, with -y:
    nothing is ever done in whichever happens to be the current one.

    \b
      dctl pipelines init --registry registry.example.com/shop
      dctl pipelines run --version 1.4.0 --deploy
      dctl pipelines dashboard
      dctl pipelines clean
    """


def _kube_options(function: F) -> F:
    for option in (
        click.option(
            "-y", "--yes", is_flag=True, help="Do not ask; only together with --kube-context."
        ),
        click.option("--kube-context", metavar="NAME", help="Of your kubeconfig [default: ask]."),
    ):
        function = option(function)
    return context_option(function)


def _workspace_options(function: F) -> F:
    for option in (
        click.option(
            "--tools",
            metavar="IMAGE",
            help="With dctl, git, docker and kubectl [default: REGISTRY/draft-tools:VERSION].",
        ),
        click.option(
            "--registry",
            envvar="DCTL_REGISTRY",
            required=True,
            metavar="NAME",
            help="Where images go, such as registry.example.com/shop (also DCTL_REGISTRY).",
        ),
    ):
        function = option(function)
    return function


@group.command()
@_kube_options
@_workspace_options
@click.option("--no-apply", is_flag=True, help="Write the files, and touch no cluster.")
def init(
    registry: str, tools: str | None, kube_context: str | None, yes: bool, no_apply: bool
) -> None:
    """Write the manifests into pipelines/ and apply them.

    Runs have a namespace of their own, NAME-pipelines. Their account may change what an export has
    in the cluster's namespace, and nothing else. The image with the tools is yours to build, from
    pipelines/tools.Dockerfile.

    \b
      dctl pipelines init --registry registry.example.com/shop --no-apply
      dctl pipelines init --registry registry.example.com/shop --kube-context kind -y
    """
    from dctl import __version__
    from dctl.export.text import to_text
    from dctl.pipelines.manifests import access, dockerfile, pipeline, tasks

    wanted = _wanted(registry, tools)
    head = f"Pipelines of {wanted.cluster}, written by dctl {__version__}: dctl pipelines init"
    files = {
        "access.yaml": to_text(access(wanted), head),
        "tasks.yaml": to_text(tasks(wanted), head),
        "pipeline.yaml": to_text([pipeline(wanted)], head),
        "tools.Dockerfile": dockerfile(__version__),
    }
    folder = workspace().root / _FOLDER
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        file = folder / name
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")
            click.echo(f"wrote {_FOLDER}/{name}", err=True)
    if no_apply:
        return
    kubectl = _confirmed(kube_context, yes, f"Apply the pipelines of {wanted.cluster}")
    # Namespaces first: what is in them cannot be there before.
    for name in ("access.yaml", "tasks.yaml", "pipeline.yaml"):
        for line in kubectl.apply(files[name]):
            click.echo(line, err=True)


@group.command()
@_kube_options
@_workspace_options
@click.option("--version", required=True, metavar="X.Y.Z", help="Version of the images.")
@click.option("--revision", default="", metavar="REF", help="Commit [default: the trunk].")
@click.option("--deploy", is_flag=True, help="Also deploy what was built.")
@click.option("--docker-secret", default="", metavar="NAME", help="With logins of registries.")
@output_option("table", "json")
def run(
    registry: str,
    tools: str | None,
    version: str,
    revision: str,
    deploy: bool,
    docker_secret: str,
    kube_context: str | None,
    yes: bool,
    format: Any,
) -> None:
    """Start a run: fetch, test, build and push, and with --deploy also deploy.

    \b
      dctl pipelines run --version 1.4.0
      dctl pipelines run --version 1.4.0 --deploy --docker-secret registry
    """
    from dctl.export.text import to_text
    from dctl.pipelines import manifests
    from dctl.release.versions import parse

    wanted = _wanted(registry, tools)
    made = manifests.run(
        wanted,
        version=str(parse(version)),
        revision=revision,
        deploy=deploy,
        docker_secret=docker_secret,
    )
    what = f"Start a run of {wanted.cluster} {version}{' and deploy it' if deploy else ''}"
    kubectl = _confirmed(kube_context, yes, what)
    name = kubectl.create(to_text([made], "one run"))
    if format == "json":
        from dctl.render.output import emit

        body = {"name": name, "namespace": wanted.namespace, "context": kubectl.context}
        emit("PipelineRun", body, format=format)
    else:
        click.echo(name)
        follow = f"kubectl --context {kubectl.context} -n {wanted.namespace} get pipelinerun {name}"
        click.echo(f"follow it: {follow} --watch", err=True)


@group.command()
@_kube_options
@click.option("--port", type=click.IntRange(1, 65535), default=_DASHBOARD, show_default=True)
def dashboard(port: int, kube_context: str | None, yes: bool) -> int:
    """Open the way to Tekton's dashboard, until Ctrl-C.

    \b
      dctl pipelines dashboard --port 8080
    """
    kubectl = _confirmed(kube_context, yes, "Open Tekton's dashboard")
    click.echo(f"http://localhost:{port}", err=True)
    return kubectl.forward("tekton-pipelines", "service/tekton-dashboard", port, _DASHBOARD)


@group.command()
@_kube_options
def clean(kube_context: str | None, yes: bool) -> None:
    """Remove the pipelines, their runs and their namespace. What was deployed stays.

    \b
      dctl pipelines clean --kube-context kind -y
    """
    from dctl.pipelines.manifests import LABEL

    cluster = _cluster()
    namespace = f"{cluster}-pipelines"
    kubectl = _confirmed(kube_context, yes, f"Remove the pipelines of {cluster} and their runs")
    label = f"{LABEL}={namespace}"
    lines = kubectl.delete(_KINDS, label, namespace)
    lines += kubectl.delete("roles,rolebindings", label, cluster)
    lines += kubectl.delete("clusterroles,clusterrolebindings,namespaces", label)
    for line in lines or ["nothing of them was there"]:
        click.echo(line, err=True)


def _cluster() -> str:
    from dctl.workspace import load_spec

    return load_spec(None, variant()).cluster.name


def _wanted(registry: str, tools: str | None) -> Wanted:
    from dctl import __version__
    from dctl.pipelines.manifests import Wanted

    space = workspace()
    if not space.repo:
        raise UsageError(
            "draft.yaml does not say where the workspace is kept",
            hint="add to it `repo: github.com/acme/shop`",
        )
    return Wanted(
        cluster=_cluster(),
        repo=space.repo,
        trunk=space.trunk_branch,
        registry=registry.rstrip("/"),
        tools=tools or f"{registry.rstrip('/')}/draft-tools:{__version__}",
    )


def _confirmed(kube_context: str | None, yes: bool, what: str) -> Kubectl:
    """The context that is meant, after somebody has seen it and said yes."""
    from dctl.pipelines.kubectl import current, named

    if yes and not kube_context:
        raise UsageError(
            "-y says yes to a kube context, and none is named", hint="--kube-context NAME -y"
        )
    context = kube_context or current()
    if not context:
        raise UsageError("no kube context is chosen", hint="--kube-context NAME")
    kubectl = named(context)
    click.echo(f"kube context: {context} ({kubectl.server() or 'no server'})", err=True)
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError("there is no terminal to ask at", hint=f"--kube-context {context} -y")
        click.confirm(f"{what} there?", abort=True, err=True)
    return kubectl
