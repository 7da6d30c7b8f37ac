"""Declare a setting once: default, bounds, unit, variable and sentence, in a dataclass's field.

    batch_size: int = field(default=25, metadata=declare(whole(1, 25), "Records in a request."))

From there come the check of arguments, the reading of variables, the docstrings and the page of
the documentation.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
import os
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

PREFIX: Final = "AI_USAGE_"
"""Each variable of ours is read with it first."""

IGNORED: Final = "It may be another program's, and is ignored"
"""In the warning of a variable that we cannot use, and other software may read as well."""

_SWITCH_WORDS: Final[Mapping[str, bool]] = {
    **dict.fromkeys(("true", "1", "yes", "on"), True),
    **dict.fromkeys(("false", "0", "no", "off"), False),
}
_WHOLE_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,30}")
_KEY: Final = "setting"
_INDENT: Final = "    "

T = TypeVar("T", bound=type[Any])
Warn = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Kind:
    """Which values a setting takes.

    Args:
        accepted: What is accepted as an argument, in words.
        spelled: What is accepted in a variable, in words.
        parse: Makes a value of a variable's text; raises ValueError or KeyError.
        is_valid: Whether a value, of any type, is accepted.
        is_shown: Whether an error may show the value; else it shows its type.
    """

    accepted: str
    spelled: str
    parse: Callable[[str], object]
    is_valid: Callable[[Any], bool]
    is_shown: bool = True


def whole(low: int, high: int | None = None) -> Kind:
    """Whole numbers of these bounds, both included."""
    top = math.inf if high is None else high
    words = f"whole numbers {f'of {low} or more' if high is None else f'from {low} to {high}'}"

    def parse(text: str) -> int:
        if not _WHOLE_NUMBER.fullmatch(text):
            raise ValueError(text)
        return int(text)

    return Kind(words, words, parse, lambda value: type(value) is int and low <= value <= top)


def seconds(*, zero: bool) -> Kind:
    """Finite numbers of seconds, from 0 or above it."""
    words = f"finite numbers of seconds, {'0 or more' if zero else 'more than 0'}"

    def is_valid(value: Any) -> bool:
        is_number = type(value) in (int, float) and math.isfinite(value)
        return is_number and (value > 0 or (zero and value == 0))

    return Kind(words, words, float, is_valid)


def switch() -> Kind:
    """True and False."""
    return Kind(
        "True and False",
        "true, false, 1, 0, yes, no, on and off",
        lambda text: _SWITCH_WORDS[text.lower()],
        lambda value: isinstance(value, bool),
    )


def choice(*words: str) -> Kind:
    """One of some words; a variable may have them in any case."""
    return Kind(
        ", ".join(map(repr, words)),
        f"{', '.join(words[:-1])} and {words[-1]}",
        str.lower,
        lambda value: value in words,
    )


def typed(*types: type) -> Kind:
    """Whatever is of one of these types; it may be secret, and no error shows it."""
    words = ", ".join(each.__name__ for each in types)
    return Kind(words, "text", str, lambda value: isinstance(value, types), is_shown=False)


def text() -> Kind:
    """Text that can be stored; a variable may hold bytes that are none."""

    def parse(text: str) -> str:
        text.encode()  # An error of its is a ValueError.
        return text

    return dataclasses.replace(typed(str), spelled="text in UTF-8", parse=parse)


def file_path(*types: type) -> Kind:
    """A path, of one of these types; in a variable ``~`` is a home directory."""

    def parse(text: str) -> Path:
        try:
            return Path(text).expanduser()
        except RuntimeError as error:  # There is no such user.
            raise ValueError(text) from error

    return dataclasses.replace(typed(*types), spelled="paths", parse=parse)


def place(*types: type) -> Kind:
    """A path of our own choice, of one of these types: where it is none, we go elsewhere."""
    return dataclasses.replace(
        typed(*types),
        spelled="paths",
        parse=lambda text: Path(os.path.expanduser(text)),  # noqa: PTH111 - Path's raises
    )


@dataclass(frozen=True, slots=True)
class Setting:
    """What a dataclass's field declares.

    Attributes:
        name: The field's, and so the argument's.
        default: The value if none is given; None means that something else decides,
            and is accepted for this setting.
        kind: Which values it takes.
        sentence: What it means, with its unit.
        otherwise: What holds in place of a default of None, in words.
        variables: Those that it is read from; the first that is set counts.
        generic: The one of them whose name other software may use too, and mean its own.
    """

    name: str
    default: object
    kind: Kind
    sentence: str
    otherwise: str
    variables: tuple[str, ...]
    generic: str | None

    @property
    def default_in_words(self) -> str:
        """The value if none is given, as text; empty if it has no default."""
        if self.default is None or self.default is dataclasses.MISSING:
            return self.otherwise
        return str(self.default)

    def check(self, value: object, error: type[ValueError]) -> None:
        """Refuse a value that is not accepted."""
        if (value is None and self.default is None) or self.kind.is_valid(value):
            return
        shown = f"{value!r}" if self.kind.is_shown else f"of type {type(value).__name__}"
        none = " and None" if self.default is None and not self.kind.is_shown else ""
        raise error(f"{self.name} is {shown}; accepted are {self.kind.accepted}{none}")

    def read(
        self,
        variables: Mapping[str, str] | None = None,
        error: type[ValueError] = ValueError,
        warn: Warn = warnings.warn,
    ) -> object:
        """Return the value that its variables give, else the default.

        A variable that is empty, or holds white space only, counts as not set.

        Args:
            variables: Environment variables; by default those of the process.
            error: Raised for a malformed variable that can only be meant for us.
            warn: Called for a malformed one whose name other software may use too: it is ignored.
        """
        given = os.environ if variables is None else variables
        for variable in self.list_set(given):
            text = given[variable].strip()
            value = self._parse(text)
            if value is not None:
                return value
            problem = f"{variable} is {text!r}; accepted are {self.kind.spelled}"
            if variable != self.generic:
                raise error(problem)
            warn(f"{problem}. {IGNORED}; {self.variables[0]} is read by this package only")
        return self.default

    def list_set(self, given: Mapping[str, str]) -> list[str]:
        """Return those of the variables that are set, and not empty; the first counts."""
        return [variable for variable in self.variables if given.get(variable, "").strip()]

    def _parse(self, text: str) -> object:
        try:
            value = self.kind.parse(text)
        except (ValueError, KeyError):
            return None
        return value if self.kind.is_valid(value) else None


def declare(
    kind: Kind,
    sentence: str,
    *,
    variables: tuple[str, ...] = (),
    bare: Literal["generic", "ours"] | None = None,
    otherwise: str = "",
) -> dict[str, Any]:
    """Return the metadata of a dataclass's field that is a setting.

    Args:
        kind: Which values it takes.
        sentence: What it means, with its unit.
        variables: Those to read it from; by default its name in capitals after ``AI_USAGE_``.
        bare: That its name in capitals is read without the prefix as well, and whether other
            software may have that name too: then a value that we cannot use is ignored.
        otherwise: What holds in place of a default of None, in words.
    """
    return {_KEY: (kind, sentence, variables, bare, otherwise)}


def list_settings(declaring: type[Any]) -> tuple[Setting, ...]:
    """Return the settings that a dataclass declares, in the order of its fields."""
    return tuple(
        _read_declaration(each) for each in dataclasses.fields(declaring) if _KEY in each.metadata
    )


def _read_declaration(each: dataclasses.Field[Any]) -> Setting:
    kind, sentence, variables, bare, otherwise = each.metadata[_KEY]
    name = each.name.upper()
    variables = variables or (f"{PREFIX}{name}",)
    if bare:
        variables += (name,)
    generic = name if bare == "generic" else None
    return Setting(each.name, each.default, kind, sentence, otherwise, variables, generic)


def check_settings(declared: Any, error: type[ValueError]) -> None:
    """Refuse an object whose settings are not all accepted, with the first that is not."""
    for setting in list_settings(type(declared)):
        setting.check(getattr(declared, setting.name), error)


def find_setting(declaring: type[Any], name: str) -> Setting:
    """Return the setting of this name."""
    return next(each for each in list_settings(declaring) if each.name == name)


def explain_settings(declaring: T) -> T:
    """Decorate a dataclass: its docstring explains its settings."""
    _explain_in(declaring, list_settings(declaring))
    return declaring


def takes_settings(declaring: type[Any]) -> Callable[[T], T]:
    """Decorate a class whose constructor takes a dataclass's settings as ``**settings``.

    Its signature and docstring have them, for ``help`` and ``inspect``.
    """

    def decorate(taking: T) -> T:
        function: Any = taking.__init__
        function.__signature__ = _put_in(inspect.signature(function), declaring)
        _explain_in(taking, list_settings(declaring))
        return taking

    return decorate


def _explain_in(explained: type[Any], settings: tuple[Setting, ...]) -> None:
    if explained.__doc__ is not None:  # It is under python -OO.
        lines = (f"{_INDENT * 2}{line}\n" for line in map(_describe, settings))
        explained.__doc__ += f"\n{_INDENT}Settings:\n{''.join(lines)}"


def _describe(setting: Setting) -> str:
    by_default = f" By default {setting.default_in_words}." if setting.default_in_words else ""
    return f"{setting.name}: {setting.sentence}{by_default}"


def _put_in(signature: inspect.Signature, declaring: type[Any]) -> inspect.Signature:
    of_class = inspect.signature(declaring).parameters
    settings = [of_class[setting.name] for setting in list_settings(declaring)]
    others = [each for each in signature.parameters.values() if each.kind is not each.VAR_KEYWORD]
    first = next((i for i, each in enumerate(others) if each.kind is each.KEYWORD_ONLY), None)
    place = len(others) if first is None else first
    return signature.replace(parameters=[*others[:place], *settings, *others[place:]])
