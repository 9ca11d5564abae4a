"""Search for what breaks a parser, led by the lines that each input reaches (Atheris, libFuzzer).

    python -m tests.fuzz.guided heartbeat --seconds 600

What it finds interesting is kept under .cache/fuzz/PARSER, where the next search goes on. What
breaks the parser lies there as crash-*, timeout-* or oom-*: put it into tests/fuzz/corpus/PARSER,
where every run of the tests reads it again, and mend the parser.
"""

from __future__ import annotations

import sys
from logging import CRITICAL
from pathlib import Path

import atheris
import click
import structlog

CORPUS = Path(__file__).parent / "corpus"
WORDS = Path(__file__).parent / "words.dict"
KEPT = Path(__file__).parents[2] / ".cache" / "fuzz"

with atheris.instrument_imports(include=["retrofit"]):
    from tests.fuzz.parsers import PARSERS


@click.command(context_settings={"show_default": True})
@click.argument("name", type=click.Choice(sorted(PARSERS)))
@click.option("--seconds", default=60, help="How long to search.")
@click.option("--kept", type=click.Path(path_type=Path), default=KEPT, help="Where finds are put.")
@click.option("--seed", default=0, help="Of what is drawn by chance; 0 for another one each time.")
def main(name: str, seconds: int, kept: Path, seed: int) -> None:
    """Search for input that breaks a parser; ends with an exit code but 0 when it found some."""
    found = kept / name / "corpus"
    found.mkdir(parents=True, exist_ok=True)
    words = [
        sys.argv[0],
        f"-max_total_time={seconds}",
        f"-seed={seed}",
        f"-artifact_prefix={kept / name}/",
        "-timeout=10",  # no file of these sizes keeps a parser busy for as long
        "-rss_limit_mb=4096",
        "-max_len=65536",
        f"-dict={WORDS}",
        str(found),
        str(CORPUS / name),
    ]
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(CRITICAL))
    atheris.Setup(words, PARSERS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
