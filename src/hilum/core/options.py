"""Options read from YAML or JSON: checked when read, unknown keys are errors that help.

Knows no pipeline and no recipe; both are built of `Options`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any, Self, TypeVar, cast

from pydantic import (
    BaseModel,
    ConfigDict,
    ModelWrapValidatorHandler,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from hilum.core.documents import parse_yaml
from hilum.core.errors import ConfigError, DocumentError, HilumError

MOST_FAULTS = 8  # things that are wrong, of one text
MOST_NAME = 100  # characters of an unknown name that are looked at


def unknown(what: str, name: object, known: Iterable[str]) -> str:
    """One sentence about an unknown name: the nearest known one, and all of them."""
    names, shown = sorted(known), str(name)[:MOST_NAME]
    near = difflib.get_close_matches(shown, names, n=1, cutoff=0.4)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"unknown {what} {shown!r}.{hint} Known: {', '.join(names) or 'none'}."


class Options(BaseModel):
    """Frozen; no NaN; an unknown key names the nearest known key, and hides nothing else."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="wrap")
    @classmethod
    def _known_keys(cls, value: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:
        known = {field.alias or name for name, field in cls.model_fields.items()}
        strange = [key for key in value if key not in known] if isinstance(value, dict) else []
        if not strange:
            return validate(value)
        wrong = [_detail((key,), unknown("key", key, known), value[key]) for key in strange]
        try:
            # As a whole: what contradicts itself is looked for outside of `validate`.
            cls.model_validate({key: own for key, own in value.items() if key in known})
        except ValidationError as problem:
            wrong += [_detail(one["loc"], one["msg"], one["input"]) for one in problem.errors()]
        raise ValidationError.from_exception_data(cls.__name__, wrong)


def _detail(loc: tuple[int | str, ...], message: str, came: Any) -> InitErrorDetails:
    # Without a context pydantic fills no braces: any text will do.
    kind = PydanticCustomError("wrong", message)
    return {"type": kind, "loc": loc, "input": came}


def assignment(text: str, option: str = "--set") -> tuple[str, Any]:
    """ "key=value" as a command line gives it: the key, and the value read as YAML.

    Raises:
        ConfigError: no "=", or a value that is not YAML.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"{option} {text!r}; needed: KEY=VALUE, such as iou=0.5")
    try:
        return key.strip(), parse_yaml(value)
    except DocumentError as error:
        raise ConfigError(f"{option} {text!r}: the value: {error}") from error


def replaced(tree: Any, key: str, value: Any) -> Any:
    """Plain data with another value at "a.b.0"; items of a list by their number from 0.

    The number after the last item appends one. None leaves the key, or the item, out. Missing
    mappings on the way are made.

    Raises:
        ConfigError: the way leads through a value, or to an item that is not there.
    """
    first, _, rest = key.partition(".")
    if isinstance(tree, list):
        places = [str(place) for place in range(len(tree) + 1)]
        if first not in places:
            raise ConfigError(f"{key}: {unknown('item', first, places)}")
        items, place = list(tree), int(first)
        here = replaced((items[place:] or [{}])[0], rest, value) if rest else value
        items[place : place + 1] = [] if here is None else [here]
        return items
    if not isinstance(tree, dict):
        raise ConfigError(f"{key}: {tree!r} has no keys to change")
    branch = cast(dict[str, Any], tree)
    new = replaced(branch.get(first, {}), rest, value) if rest else value
    return {k: v for k, v in {**branch, first: new}.items() if k != first or v is not None}


Checked = TypeVar("Checked", bound=BaseModel)


def checked(
    kind: type[Checked], value: Any, source: str, error: type[HilumError] = ConfigError
) -> Checked:
    """`value` as a validated `kind`.

    Raises:
        ConfigError, or `error`: one line: the source, and where in it what is wrong.
    """
    try:
        return kind.model_validate(value)
    except ValidationError as problem:
        wrong = [_said(one) for one in faults(problem)]
        more = f"; and {len(wrong) - MOST_FAULTS} more" if len(wrong) > MOST_FAULTS else ""
        raise error(f"{source}: {'; '.join(wrong[:MOST_FAULTS])}{more}") from problem


def faults(problem: ValidationError) -> list[ErrorDetails]:
    """What is wrong, where it is: a list is not too short, too, where its item is wrong."""
    every = problem.errors()
    around = {one["loc"][:n] for one in every for n in range(len(one["loc"]))}
    return [one for one in every if one["type"] != "too_short" or one["loc"] not in around]


def _said(wrong: ErrorDetails) -> str:
    where = ".".join(str(part) for part in wrong["loc"])
    return f"{where + ': ' if where else ''}{wrong['msg'].removeprefix('Value error, ')}"
