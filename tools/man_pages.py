"""Man pages of every command, from click's own help: `python -m tools.man_pages` writes `man/`.

click-man has the layout. It knows neither epilogs nor click's paragraphs that are not to be
wrapped, and cuts descriptions short, so that the texts are prepared here.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

import click
from click_man.man import ManPage

from retrofit import __version__
from tools import settings_page
from tools.programs import contexts
from tools.roff import roff

DIRECTORY = Path(__file__).resolve().parents[1] / "man"
SEE_ALSO = {
    "retrofit": ("retrofit-scheduler",),
    "retrofit-scheduler": ("retrofit",),
}
FILES = """\
.SH FILES
.TP
.I /etc/retrofit/retrofit.toml
The configuration; \\fBretrofit config show\\fP prints every setting with its value.
.TP
.I /etc/openstack/clouds.yaml
The credentials of the cloud.
.TP
.I /var/log/retrofit
A directory of logs for each run.
"""


def pages() -> dict[str, str]:
    """Return the text of every page by its file name."""
    found = ((tuple(context.command_path.split()), context) for context in contexts())
    return {f"{'-'.join(path)}.1": page(path, context) for path, context in found}


def page(path: tuple[str, ...], context: click.Context) -> str:
    """Return one page in roff; `path` holds the words of the command."""
    command, name = context.command, "-".join(path)
    text = inspect.cleandoc(command.help or "")
    title, _, rest = text.partition("\n\n")
    layout = ManPage(" ".join(path))
    layout.version, layout.date = f"retrofit {__version__}", ""
    layout.short_help = roff(" ".join(title.split()).removesuffix("."))
    layout.synopsis = " ".join(command.collect_usage_pieces(context))
    layout.description = _paragraphs(rest or title)
    layout.options = [
        (option, roff(" ".join(text.split())))
        for parameter in command.get_params(context)
        if isinstance(parameter, click.Option)
        and (record := parameter.get_help_record(context)) is not None
        for option, text in [record]
    ]
    written = str(layout)
    # lexgrog(1) takes only one word for the name of a page.
    spaced = " ".join(path)
    written = written.replace(f'.TH "{spaced.upper()}"', f'.TH "{name.upper()}"', 1)
    written = written.replace(spaced.replace(" ", "\\-") + " \\-", f"{name} \\-", 1)
    return written + "".join(_further_sections(path, context))


def _further_sections(path: tuple[str, ...], context: click.Context) -> Iterator[str]:
    command, name = context.command, "-".join(path)
    if isinstance(command, click.Group):
        yield ".SH COMMANDS\n"
        for word, below in command.commands.items():
            title = roff(inspect.cleandoc(below.help or "").partition("\n\n")[0])
            yield f".TP\n\\fB{name}\\-{word}\\fP(1)\n{' '.join(title.split())}\n"
    if command.epilog:
        yield f".SH NOTES\n{_paragraphs(inspect.cleandoc(command.epilog))}\n"
    if len(path) == 1:
        yield FILES
        others = SEE_ALSO[name]
    else:
        others = ("-".join(path[:-1]),)
    named = [f"\\fB{other}\\fP(1)" for other in others]
    if len(path) == 1:
        named.append("\\fBretrofit.toml\\fP(5)")
    yield ".SH SEE ALSO\n" + ", ".join(named) + "\n"


def _paragraphs(text: str) -> str:
    """Return paragraphs for the layout, which parts them by blank lines."""
    parts = []
    for paragraph in text.split("\n\n"):
        kept = paragraph.startswith("\b\n")
        body = roff(paragraph.removeprefix("\b\n"))
        parts.append(f".nf\n{body}\n.fi" if kept else body)
    return "\n.PP\n".join(parts)


def write() -> None:
    """Write every page, and delete those of commands that are gone."""
    DIRECTORY.mkdir(exist_ok=True)
    wanted = pages()
    for old in DIRECTORY.glob("*.1"):
        if old.name not in wanted:
            old.unlink()
    for name, text in wanted.items():
        (DIRECTORY / name).write_text(text)
    settings_page.write()


if __name__ == "__main__":
    write()
