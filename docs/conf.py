"""Settings of Sphinx, which builds these pages into a site: `make docs`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from sphinx.errors import ExtensionError

project = "retrofit"
author = "The retrofit authors"
html_title = "retrofit"

extensions = ["myst_parser"]
myst_heading_anchors = 4  # as GitHub gives them, so that a link works in both places
exclude_patterns = ["_build"]

html_theme = "furo"
html_show_copyright = False
html_copy_source = False
# Nothing is loaded from elsewhere: the theme has its styles and scripts with it.
html_theme_options = {"top_of_page_buttons": []}


def setup(app: Any) -> None:
    """Look at the pages when they are written."""
    app.connect("build-finished", refuse_foreign_resources)


def refuse_foreign_resources(app: Any, failure: Exception | None) -> None:
    """Fail the build if a page loads a script, style, font or picture from another site."""
    pattern = re.compile(
        r"<(?:script|link|img|iframe)\b[^>]*?(?:src|href)=\"((?:https?:)?//[^\"]*)"
    )
    styles = re.compile(r"(?:@import|url\()\s*[\"']?((?:https?:)?//[^\"')]*)")
    found = {
        (path.name, address)
        for kind, rule in (("*.html", pattern), ("*.css", styles))
        for path in Path(app.outdir).rglob(kind)
        for address in rule.findall(path.read_text())
    }
    if failure is None and found:
        raise ExtensionError(f"loaded from elsewhere: {sorted(found)}")
