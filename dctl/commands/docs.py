"""`dctl docs`: the reference of the command line, as files."""

from __future__ import annotations

from pathlib import Path

import click

from dctl.errors import DctlError


@click.command("docs")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--format",
    "formats",
    type=click.Choice(["markdown", "man"]),
    multiple=True,
    help="Only that; may be repeated [default: both].",
)
@click.option("--check", is_flag=True, help="Write nothing; fail when a page is not fresh.")
def command(folder: Path, formats: tuple[str, ...], check: bool) -> None:
    """Write the reference of all commands into FOLDER: cli.md, and man pages under man1/.

    \b
      dctl docs docs --format markdown
      dctl docs ~/.local/share/man --format man && man dctl-infra-plan
      dctl docs docs --check              in CI: was it forgotten?
    """
    stale = []
    for name, text in _pages(formats or ("markdown", "man")).items():
        file = folder / name
        if file.is_file() and file.read_text(encoding="utf-8") == text:
            continue
        if check:
            stale.append(str(file))
            continue
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        click.echo(str(file))
    if stale:
        raise DctlError(
            "not what the commands say:\n  " + "\n  ".join(stale), hint=f"dctl docs {folder}"
        )


def _pages(formats: tuple[str, ...]) -> dict[str, str]:
    from dctl import __version__
    from dctl.cli import root
    from dctl.render.reference import man_pages, markdown

    pages = {"cli.md": markdown(root)} if "markdown" in formats else {}
    if "man" in formats:
        pages |= {f"man1/{name}": text for name, text in man_pages(root, __version__).items()}
    return pages
