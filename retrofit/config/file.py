"""Where settings come from: defaults, the TOML file, then `RETROFIT_*` of the environment."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from retrofit.config import (
    BuildSettings,
    CloudSettings,
    LockSettings,
    MetricsSettings,
    MirrorSettings,
    Name,
    NotifySettings,
    OctaviaSettings,
    PathSettings,
    PublishSettings,
    ScheduleSettings,
    Settings,
    SourceSettings,
    Target,
    VerifySettings,
    WebSettings,
    WorkerSettings,
)
from retrofit.errors import ConfigError
from retrofit.redaction import redacted
from retrofit.trustworthy import require_trustworthy

DEFAULT_FILE = Path("/etc/retrofit/retrofit.toml")
ENV_PREFIX = "RETROFIT_"
ENV_DELIMITER = "__"
TARGET_SECTIONS = tuple(name for name in Target.model_fields if name != "name")


class Document(BaseSettings):
    """The file as written; `[target.NAME]` tables override the sections beside them."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_nested_delimiter=ENV_DELIMITER, extra="forbid"
    )

    cloud: CloudSettings = Field(default_factory=CloudSettings)
    source: SourceSettings = Field(default_factory=SourceSettings)
    mirror: MirrorSettings = Field(default_factory=MirrorSettings)
    build: BuildSettings = Field(default_factory=BuildSettings)
    verify: VerifySettings = Field(default_factory=VerifySettings)
    publish: PublishSettings = Field(default_factory=PublishSettings)
    octavia: OctaviaSettings = Field(default_factory=OctaviaSettings)
    schedule: ScheduleSettings = Field(default_factory=ScheduleSettings)
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
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the environment win over the file, and read nothing else."""
        return env_settings, init_settings


def load(path: Path | None = None) -> Settings:
    """Read and validate the configuration.

    Without `path`: the file that RETROFIT_CONFIG names, else /etc/retrofit/retrofit.toml where it
    exists, else defaults and environment alone. Raises ConfigError that lists every problem.
    """
    path = path or usual_file()
    return understood(content_of(path), path)


def content_of(path: Path | None) -> bytes:
    """Read a configuration that only who may give us orders can have written; none is empty.

    Raises ConfigError.
    """
    if path is None:
        return b""
    try:
        with path.open("rb") as file:
            require_trustworthy(path, os.fstat(file.fileno()))
            return file.read()
    except OSError as error:
        raise ConfigError(
            f"cannot read {path}: {error.strerror}",
            hint="name a file with --config, or put one at /etc/retrofit/retrofit.toml",
        ) from error


def understood(written: bytes, path: Path | None) -> Settings:
    """Validate what was read from `path`. Raises ConfigError that lists every problem."""
    where = str(path) if path else "the environment"
    content = _parsed(written, path)
    problems = list(_unknown_variables(os.environ))
    try:
        document = Document(**content)
        targets = tuple(_targets(document, problems))
        problems.extend(_rivals(targets))
    except ValidationError as error:
        problems.extend(_explain(error, Document))
    except SettingsError as error:
        problems.append(str(error))
    if problems:
        listed = "\n".join(f"  {problem}" for problem in problems)
        raise ConfigError(
            f"{where} cannot be used:\n{listed}",
            hint="README.md has a table of all settings; `retrofit config check` reads it again",
        )
    shared = {name: getattr(document, name) for name in Settings.model_fields if name != "targets"}
    return Settings(targets=targets, **shared)


def usual_file() -> Path | None:
    """Return the file that is read where none is named; None where there is none."""
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


def _unknown_variables(environment: Mapping[str, str]) -> Iterator[str]:
    """Name what pydantic-settings passes over in silence: a typo would hide there."""
    for variable in sorted(environment):
        head, delimiter, _ = variable.removeprefix(ENV_PREFIX).partition(ENV_DELIMITER)
        if not (variable.startswith(ENV_PREFIX) and delimiter):
            continue
        if head.lower() not in Document.model_fields:
            yield f"{variable}: unknown section {head.lower()!r}{_similar(head.lower(), Document)}"


def _targets(document: Document, problems: list[str]) -> Iterator[Target]:
    base = document.model_dump(include=set(TARGET_SECTIONS), exclude_unset=True)
    for name, overrides in (document.target or {"default": {}}).items():
        try:
            yield Target.model_validate({**_merged(base, overrides), "name": name})
        except ValidationError as error:
            prefix = f"target.{name}." if document.target else ""
            problems.extend(_explain(error, Target, prefix=prefix))


def _rivals(targets: Iterable[Target]) -> Iterator[str]:
    """Name targets that Octavia cannot tell apart: each run would promote against the other."""
    holders: dict[tuple[object, ...], Target] = {}
    for target in targets:
        cloud, tag = target.cloud, target.publish.tag
        first = holders.setdefault((cloud.name, cloud.clouds_yaml, cloud.region, tag), target)
        if first is not target:
            yield (
                f"target.{target.name}.publish.tag: {tag!r} is the tag of target {first.name} in"
                " the same cloud and region: Octavia takes one image for a tag, give each its own"
            )


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in over.items():
        below = result.get(key)
        nested = isinstance(below, Mapping) and isinstance(value, Mapping)
        result[key] = _merged(below, value) if nested else value  # type: ignore[arg-type]
    return result


def _explain(error: ValidationError, root: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for problem in error.errors():
        keys = [str(key) for key in problem["loc"]]
        name = prefix + ".".join(keys)
        if problem["type"] == "extra_forbidden":
            owner = _model_at(root, keys[:-1])
            yield f"{name}: unknown setting{_similar(keys[-1], owner)}"
            continue
        message = problem["msg"].removeprefix("Value error, ")
        if not keys:  # two sections contradict each other; the message names the key itself
            yield f"{prefix}{message}"
        else:
            yield f"{name}: {message}{_given(keys, problem['input'])}"


def _given(keys: list[str], value: Any) -> str:
    """Repeat what was given, but no section, variable or webhook: they may hold secrets."""
    if isinstance(value, Mapping) or "environment" in keys[:-1] or keys == ["notify", "url"]:
        return ""
    return f" (got {redacted(repr(value))})"


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
