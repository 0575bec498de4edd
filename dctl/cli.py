"""The table of commands, and the group that imports a command only when it is called.

Start-up is what users feel, so listing commands costs no import: names and one-line helps stand
here. Every command lives in `dctl/commands/<group>.py`; adding one is a line in `COMMANDS`.
"""

from __future__ import annotations

import difflib
import importlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from dctl import __version__

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


@dataclass(frozen=True, slots=True)
class Lazy:
    """Where a command is (`module:attribute`) and what it does in one line."""

    target: str
    help: str
    section: str

    def load(self) -> click.Command:
        module, attribute = self.target.split(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command


def _commands() -> Mapping[str, Lazy]:
    table = {
        "Cluster": {
            "infra": ("infra:group", "Plan, apply and watch over a cluster."),
            "host": ("host:group", "Other machines, and the keys they are known by."),
            "backup": ("backup:group", "All that a cluster keeps, as a file, and back."),
            "secret": ("secret:group", "Secrets, and the workspace's encrypted store."),
            "cluster": ("cluster:group", "The engine's nodes and streams."),
            "export": ("export:group", "The spec as a compose file, or for Kubernetes."),
            "doctor": ("doctor:command", "Check what this machine has and lacks."),
            "tui": ("tui:command", "The cluster, live."),
        },
        "Use what runs": {
            "kv": ("kv:group", "Keys and values in Blueprint."),
            "lock": ("lock:group", "Locks: who holds what; a command under one."),
            "ps": ("ps:command", "Processes in the registry."),
            "process": ("ps:group", "One process of the registry in full."),
            "route": ("route:group", "Routes at the ingress."),
            "broker": ("broker:group", "Produce and consume events."),
            "call": ("call:command", "Call a service, by what it says of itself."),
        },
        "Develop": {
            "context": ("context:group", "Workspaces, and names for them."),
            "api": ("api:group", "Protobufs to a typed package."),
            "service": ("service:group", "Services of the workspace."),
            "run": ("run:command", "Services of the workspace, from their code, reloaded."),
            "test": ("test:command", "The workspace's tests, against a cluster of their own."),
            "config": ("config:command", "The cluster spec as dctl reads it."),
            "explain": ("explain:command", "What a key of the cluster spec means."),
            "schema": ("schema:command", "JSON Schema of the cluster spec."),
            "release": ("release:group", "Images, tagged modules, and what is new in them."),
            "pipelines": ("pipelines:group", "Build, test and deploy on Kubernetes, by Tekton."),
            "docs": ("docs:command", "The reference of the command line, as files."),
            "completion": ("completion:command", "Completion for your shell."),
        },
    }
    return {
        name: Lazy(f"dctl.commands.{target}", help, section)
        for section, commands in table.items()
        for name, (target, help) in commands.items()
    }


COMMANDS = _commands()


class LazyGroup(click.Group):
    """A group over `COMMANDS`; a command's module is imported when it is run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        lazy = COMMANDS.get(cmd_name)
        return lazy.load() if lazy else None

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Names come from the table: a command is imported when what is below it is completed."""
        from click.shell_completion import CompletionItem

        found = [CompletionItem(n, help=lazy.help) for n, lazy in COMMANDS.items()]
        return [item for item in found if item.value.startswith(incomplete)] + (
            click.Command.shell_complete(self, ctx, incomplete)
        )

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            near = difflib.get_close_matches(name, COMMANDS, n=1)
            hint = f'; did you mean "{near[0]}"?' if near else ""
            raise click.UsageError(f'no command "{name}"{hint}', ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for section in dict.fromkeys(lazy.section for lazy in COMMANDS.values()):
            rows = [(n, lazy.help) for n, lazy in COMMANDS.items() if lazy.section == section]
            with formatter.section(section):
                formatter.write_dl(rows)


def _no_color(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        os.environ["NO_COLOR"] = "1"  # rich and our children read it
    if os.environ.get("NO_COLOR"):
        ctx.color = False


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="dctl")
@click.option(
    "--no-color",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_no_color,
    help="Plain text (also: the NO_COLOR environment variable).",
)
def root(**_: Any) -> None:
    """Declare a distributed system; dctl makes it true.

    \b
      dctl infra apply              raise the cluster of the nearest draft.yaml
      dctl infra status             what runs where, and how it feels
      dctl kv set greeting hello    use it
    """
