"""How a result is printed, as the command line asked for it."""

from __future__ import annotations

from dataclasses import dataclass

FORMATS = ("table", "json", "yaml", "csv", "value")


@dataclass(frozen=True, kw_only=True)
class Form:
    """How a result is printed: the format, which columns (none: the usual ones), sorted by what."""

    format: str = "table"
    columns: tuple[str, ...] = ()
    sort: str | None = None

    @classmethod
    def of(cls, form: Form | str) -> Form:
        """Return a form; a word is its format."""
        return cls(format=form) if isinstance(form, str) else form

    @property
    def is_document(self) -> bool:
        """Return True if the whole document is printed, as JSON or YAML."""
        return self.format in {"json", "yaml"} and not self.columns and self.sort is None

    @property
    def is_listed(self) -> bool:
        """Return True if rows and columns are printed, and not the usual tables of a command."""
        chosen = bool(self.columns) or self.sort is not None
        return not self.is_document and (chosen or self.format in {"csv", "value"})
