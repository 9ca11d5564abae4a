"""Read settings: defaults, the TOML file, then `RETROFIT_*` of the environment."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from retrofit.config import (
    BuildSettings,
    CloudSettings,
    FreshnessSettings,
    LockSettings,
    MetricsSettings,
    MirrorSettings,
    Name,
    NotifySettings,
    OctaviaSettings,
    PathSettings,
    PublishSettings,
    RolloverSettings,
    ScheduleSettings,
    Settings,
    SourceSettings,
    Target,
    VerifySettings,
    WebSettings,
    WorkerSettings,
)
from retrofit.config.contradictions import contradictions
from retrofit.config.numbers import FromEnvironment
from retrofit.config.renamed import change_of
from retrofit.config.secrets import credentials_in, credentials_of_environment, is_secret
from retrofit.config.variables import ENV_DELIMITER, ENV_PREFIX, Variables, unread_variables
from retrofit.errors import ConfigError
from retrofit.redaction import redacted, remember
from retrofit.system.file_ownership import require_not_writable_by_others

LARGEST = 4 << 20
"""Bytes of a configuration."""
MOST_SHOWN = 100
"""Characters of a value that a message repeats."""
_USERINFO = re.compile(":.*@", re.DOTALL)
"""In an address that can be read in several ways, no masking finds the password."""
DEFAULT_FILE = Path("/etc/retrofit/retrofit.toml")
TARGET_SECTIONS = tuple(name for name in Target.model_fields if name not in {"name", "formerly"})


class Document(BaseSettings):
    """The file before its targets are merged: `[target.NAME]` tables override the sections."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_nested_delimiter=ENV_DELIMITER, extra="forbid"
    )

    cloud: CloudSettings = Field(default_factory=CloudSettings)
    source: SourceSettings = Field(default_factory=SourceSettings)
    mirror: MirrorSettings = Field(default_factory=MirrorSettings)
    build: BuildSettings = Field(default_factory=BuildSettings)
    verify: VerifySettings = Field(default_factory=VerifySettings)
    freshness: FreshnessSettings = Field(default_factory=FreshnessSettings)
    publish: PublishSettings = Field(default_factory=PublishSettings)
    octavia: OctaviaSettings = Field(default_factory=OctaviaSettings)
    schedule: ScheduleSettings = Field(default_factory=ScheduleSettings)
    rollover: RolloverSettings = Field(default_factory=RolloverSettings)
    lock: LockSettings = Field(default_factory=LockSettings)
    paths: PathSettings = Field(default_factory=PathSettings)
    worker: WorkerSettings = Field(default_factory=WorkerSettings)
    notify: NotifySettings = Field(default_factory=NotifySettings)
    metrics: MetricsSettings = Field(default_factory=MetricsSettings)
    web: WebSettings = Field(default_factory=WebSettings)
    target: dict[Name, dict[str, Any]] = Field(default_factory=dict)

    @classmethod
    def settings_customise_sources(  # the signature is pydantic-settings' own
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the environment win over the file, and read nothing else."""
        return Variables(settings_cls), init_settings


def load(path: Path | None = None) -> Settings:
    """Read and validate the configuration.

    Without `path`: the file that RETROFIT_CONFIG names, else /etc/retrofit/retrofit.toml where it
    exists, else defaults and environment alone. Raises ConfigError that lists every problem.
    """
    path = path or default_file()
    return parse(read_file(path), path)


def read_file(path: Path | None) -> bytes:
    """Return the content of a file that only trusted users can write; empty where none is named.

    Raises ConfigError.
    """
    if path is None:
        return b""
    try:
        with path.open("rb") as file:
            require_not_writable_by_others(path, os.fstat(file.fileno()))
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise ConfigError(
            f"cannot read {path}: {error.strerror}",
            hint="name a file with --config, or put one at /etc/retrofit/retrofit.toml",
        ) from error
    if len(content) > LARGEST:
        raise ConfigError(
            f"{path} has more than {LARGEST >> 20} MiB", hint="name the configuration file"
        )
    return content


def parse(written: bytes, path: Path | None) -> Settings:
    """Validate the content of `path`. Raises ConfigError that lists every problem."""
    where = str(path) if path else "the environment"
    content = _parsed(written, path)
    # Before anything is validated: no error, a traceback of ours neither, may show one.
    remember((*credentials_of_environment(), *credentials_in(content)))
    problems = list(unread_variables(os.environ, Document))
    try:
        remember(credentials_in(Variables(Document)()))
        document = Document(**content)
        targets = tuple(_targets(document, problems))
        problems.extend(contradictions(targets))
    except ValidationError as error:
        problems.extend(_explain(error, Document))
        problems.extend(_of_targets_alone(content.get("target")))
    except SettingsError as error:
        problems.append(str(error))
    except RecursionError:
        problems.append("tables or lists are nested too deeply")
    if problems:
        listed = "\n".join(f"  {problem}" for problem in problems)
        raise ConfigError(
            f"{where} cannot be used:\n{listed}",
            hint="docs/reference/settings.md describes every setting, docs/upgrading.md lists"
            " renamed ones; `retrofit config check` checks again",
        )
    shared = {name: getattr(document, name) for name in Settings.model_fields if name != "targets"}
    return Settings(targets=targets, **shared)


def default_file() -> Path | None:
    """Return the file to read without `--config`: RETROFIT_CONFIG, else the usual one, if any."""
    named = os.environ.get(f"{ENV_PREFIX}CONFIG")
    if named:
        return Path(named)
    return DEFAULT_FILE if DEFAULT_FILE.exists() else None


def _parsed(written: bytes, path: Path | None) -> dict[str, Any]:
    try:
        return tomllib.loads(written.decode())
    except (ValueError, RecursionError) as error:  # TOML and UTF-8 errors are ValueErrors
        raise ConfigError(
            f"{path} is not valid TOML: {error}", hint="see https://toml.io"
        ) from error


def _targets(document: Document, problems: list[str]) -> Iterator[Target]:
    base = document.model_dump(include=set(TARGET_SECTIONS), exclude_unset=True)
    for name, overrides in (document.target or {"default": {}}).items():
        try:
            yield Target.model_validate({**_merged(base, overrides), "name": name})
        except ValidationError as error:
            prefix = f"target.{name}." if document.target else ""
            problems.extend(_explain(error, Target, prefix=prefix))


def _of_targets_alone(tables: object) -> Iterator[str]:
    """Report what is wrong in targets' tables, where the sections beside them are wrong too.

    Contradictions between sections are left out: they may end when the others are mended.
    """
    for name, overrides in tables.items() if isinstance(tables, Mapping) else ():
        try:
            Target.model_validate(overrides)
        except ValidationError as error:
            own = [problem for problem in error.errors() if problem["loc"]]
            yield from _explain_all(own, Target, prefix=f"target.{name}.")


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in over.items():
        below = result.get(key)
        nested = isinstance(below, Mapping) and isinstance(value, Mapping)
        result[key] = _merged(below, value) if nested else value  # type: ignore[arg-type]
    return result


def _explain(error: ValidationError, root: type[BaseModel], prefix: str = "") -> Iterator[str]:
    return _explain_all(error.errors(), root, prefix)


def _explain_all(
    problems: Iterable[ErrorDetails], root: type[BaseModel], prefix: str
) -> Iterator[str]:
    for problem in problems:
        keys = [str(key) for key in problem["loc"]]
        name = prefix + ".".join(keys)
        if change := change_of(keys, problem["input"]):
            yield f"{_variable_of(name) or name}: {change}"
            continue
        if problem["type"] == "extra_forbidden":
            owner = _model_at(root, keys[:-1])
            yield f"{name}: unknown setting{_similar(keys[-1], owner)}"
            continue
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "tuple_type" and isinstance(problem["input"], str):
            message = "a list is expected"
            if _given(keys, problem["input"]):
                message += f', such as ["{problem["input"]}"]'
        if keys[-1:] == ["[key]"]:
            name = prefix + ".".join(keys[:-1])
            message = (
                "a name has at most 63 of a-z, 0-9, '.', '_' and '-', and begins with a letter or"
                " digit"
            )
        if not keys:  # two sections contradict each other; the message names the key itself
            yield f"{prefix}{message}"
        else:
            yield f"{name}: {message}{_given(keys, problem['input'])}"


def _variable_of(name: str) -> str | None:
    """Return the environment variable that sets `name`, if any: it wins over the file."""
    wanted = f"{ENV_PREFIX}{name.replace('.', ENV_DELIMITER)}".upper()
    return next((variable for variable in os.environ if variable.upper() == wanted), None)


def _given(keys: list[str], value: Any) -> str:
    """Quote the value, but no section, and nothing of a setting that may hold a secret."""
    given = repr(str(value) if isinstance(value, FromEnvironment) else value)
    if isinstance(value, Mapping) or is_secret(keys) or _USERINFO.search(given):
        return ""
    given = redacted(given)
    return f" (got {given[:MOST_SHOWN]}{'...' if len(given) > MOST_SHOWN else ''})"


def _model_at(root: type[BaseModel], keys: list[str]) -> type[BaseModel]:
    model = root
    for key in keys:
        field = model.model_fields.get(key)
        if field is None or not isinstance(field.annotation, type):
            break
        if issubclass(field.annotation, BaseModel):
            model = field.annotation
    return model


def _similar(name: str, model: type[BaseModel]) -> str:
    close = difflib.get_close_matches(name, model.model_fields, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
