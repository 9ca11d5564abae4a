"""The manual page retrofit.toml(5), from the models that read the configuration."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from retrofit import __version__
from retrofit.config.file import TARGET_SECTIONS, Document
from retrofit.config.variables import ENV_DELIMITER, ENV_PREFIX
from tools.reference.settings import rows_of, sections_of
from tools.roff import roff

FILE = Path(__file__).resolve().parents[1] / "man5" / "retrofit.toml.5"
INTRODUCTION = f"""\
.SH NAME
retrofit.toml \\- configuration of retrofit
.SH DESCRIPTION
retrofit reads one TOML file: the one named by \\fB\\-\\-config\\fP or
\\fB{ENV_PREFIX}CONFIG\\fP, else
\\fI/etc/retrofit/retrofit.toml\\fP. Without a file, defaults and the environment apply.
\\fBretrofit config init\\fP writes a first one, \\fBretrofit config check\\fP reports every
mistake,
\\fBretrofit config show\\fP prints every setting in force.
.PP
Each setting has an environment variable, which wins over the file:
\\fB{ENV_PREFIX}PUBLISH{ENV_DELIMITER}KEEP=3\\fP stands for \\fBkeep = 3\\fP under
\\fB[publish]\\fP. Lists and tables are written as JSON there.
.PP
A table \\fB[target.NAME.SECTION]\\fP overrides a section for one target. It may hold
{", ".join(TARGET_SECTIONS)}. \\fBtarget.NAME.formerly\\fP is a list of the target's former names.
"""
EXAMPLE = """\
.SH EXAMPLE
.nf
[cloud]
name = "production"

[source]
series = ["noble", "jammy"]

[publish]
keep = 3
.fi
.SH SEE ALSO
\\fBretrofit\\fP(1), \\fBretrofit\\-config\\-check\\fP(1), \\fBretrofit\\-scheduler\\fP(1)
"""


def page() -> str:
    """Return the page in roff."""
    title = f'.TH "RETROFIT.TOML" "5" "" "retrofit {__version__}" "retrofit Manual"\n'
    return title + INTRODUCTION + "".join(_sections()) + EXAMPLE


def _sections() -> Iterator[str]:
    for section, model in sections_of(Document):
        yield f".SH [{section}]\n{roff(' '.join((model.__doc__ or '').split()))}\n"
        for name, kind, default, description in rows_of(section, model):
            key = name.partition("<br>")[0].strip("`")
            value = f"{kind}, default {default}" if default else kind
            yield f".TP\n\\fB{roff(key)}\\fP ({_plain(value)})\n{_plain(description)}\n"


def _plain(text: str) -> str:
    """Return a cell of the reference's tables in roff."""
    unlinked = re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", " ".join(text.split()))
    return roff(unlinked.replace("<br>", " "))


def write() -> None:
    """Write the page."""
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(page())
