"""`dctl completion`: the script that has a shell complete dctl's command lines."""

from __future__ import annotations

import click

_SHELLS = ("bash", "zsh", "fish")


@click.command("completion")
@click.argument("shell", type=click.Choice(_SHELLS))
def command(shell: str) -> None:
    """Print the script that completes commands, options and live names in SHELL.

    \b
      dctl completion bash > ~/.local/share/bash-completion/completions/dctl
      dctl completion zsh > "${fpath[1]}/_dctl"
      dctl completion fish > ~/.config/fish/completions/dctl.fish
    """
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None
    complete = found(click.get_current_context().find_root().command, {}, "dctl", "_DCTL_COMPLETE")
    # Not its source(): that asks which bash is on this machine, and it may be another one there.
    click.echo(complete.source_template % complete.source_vars())
