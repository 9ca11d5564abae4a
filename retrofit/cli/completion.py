"""Completion of commands, options and runs in the operator's shell."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from retrofit.cli.root import retrofit


@retrofit.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion of retrofit's commands for a shell.

    \b
    bash: retrofit completion bash > /etc/bash_completion.d/retrofit
    zsh:  retrofit completion zsh > "${fpath[1]}/_retrofit"
    fish: retrofit completion fish > ~/.config/fish/completions/retrofit.fish
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise click.BadParameter(f"click knows no completion for {shell}")
    click.echo(kind(retrofit, {}, "retrofit", "_RETROFIT_COMPLETE").source())
