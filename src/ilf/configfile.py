"""Config files: TOML in, checked settings out, mistakes in one line; and back into the run folder."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from ilf.errors import ConfigError

S = TypeVar("S", bound=BaseModel)


def configs_folder() -> Path:
    """Where the configs that ship are: in the installed package, or at the root of a checkout."""
    packaged = Path(__file__).parent / "configs"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "configs"


def starter_path() -> Path:
    """The config of the starter run, as it ships."""
    return configs_folder() / "starter.toml"


def shipped(path: Path) -> Path:
    """`path`; or the config that ships, where there is no `configs/NAME` here (outside a checkout)."""
    if path.parent == Path("configs") and not path.exists():
        ours = configs_folder() / path.name
        return ours if ours.is_file() else path
    return path


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file as a dictionary, or a `ConfigError`; `configs/NAME` also names one that ships."""
    path = shipped(path)
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (FileNotFoundError, NotADirectoryError):
        raise ConfigError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise ConfigError(f"{path}: a folder, but a TOML file was expected") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not TOML: {error}") from None


def with_overrides(raw: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """`raw` with each dotted `key=value` put in."""
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"--set {override}: expected key=value, for example sampling.n=10")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text
        *parents, last = key.strip().split(".")
        table = raw
        for parent in parents:
            table = table.setdefault(parent, {})
            if not isinstance(table, dict):
                raise ConfigError(f"--set {override}: {parent} is not a section")
        table[last] = value
    return raw


def checked(kind: type[S], raw: Mapping[str, Any], where: str) -> S:
    """`raw` as a section of settings; `where` names it in errors."""
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(f"{where}: {explain(error, kind)}") from None


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """The first complaint of a pydantic error as `key: what is wrong`, with the nearest known key."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        known = _fields_at(model, first["loc"][:-1])
        near = difflib.get_close_matches(str(first["loc"][-1]), known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(sorted(known))}"
        return f"{key}: unknown key; {hint}"
    if first["type"] == "missing":
        return f"{key}: needed, but not given"
    message = first["msg"].removeprefix("Value error, ")
    given = "" if isinstance(first["input"], dict | BaseModel) else f" (given: {first['input']!r})"
    return f"{key}: {message}{given}" if key else message


def _fields_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    for part in loc:
        field = model.model_fields.get(str(part))
        if field is None or not (
            isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
        ):
            return []
        model = field.annotation
    return list(model.model_fields)
