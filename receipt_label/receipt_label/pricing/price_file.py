"""Price lists in TOML: the user's own files, and the overlay that comes with the package."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from receipt_label.errors import ConfigurationError
from receipt_label.pricing.rates import RATES
from receipt_label.pricing.token_price import TIERS, TokenPrice

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

_NUMBER: Final = "numbers, 0 or more"
_TEXT: Final = "texts that are not empty"
_DAY: Final = "days such as 2026-11-26"


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceEntry:
    """One entry of a price list.

    Attributes:
        service: Provider, in lower case.
        models: Names of the models that it is for, in lower case.
        price: What it costs, and when.
        source: Address of the page with the price.
        verified: The day when it was read there.
        assumed: What the price rests on, where it cannot be known for one call.
        adds: Whether the entry only fills in what the price of a model lacks.
    """

    service: str
    models: tuple[str, ...]
    price: TokenPrice
    source: str | None = None
    verified: date | None = None
    assumed: str | None = None
    adds: bool = False

    def describe(self, source: str, model: str) -> dict[str, Any]:
        """Return where a price of this entry comes from, for the record's metadata."""
        known = {
            "source": source,
            "model": model if model in self.models else self.models[0],
            "match": "exact" if model in self.models else "alias",
            "status": "priced" if self.assumed is None else "estimated",
            "effective": self.price.valid_from and self.price.valid_from.isoformat(),
            "verified": self.verified and self.verified.isoformat(),
            "url": self.source,
            "assumed": self.assumed,
        }
        return {name: value for name, value in known.items() if value is not None}


class EntryTable:
    """Entries by service and model."""

    def __init__(self, entries: Iterable[PriceEntry]) -> None:
        self._entries: dict[tuple[str, str], list[PriceEntry]] = {}
        for entry in entries:
            for model in entry.models:
                self._entries.setdefault((entry.service, model), []).append(entry)

    def find(self, service: str, model: str, day: date) -> PriceEntry | None:
        """Return the entry that holds for a model on a day."""
        for entry in self._entries.get((service, model), ()):
            if entry.price.holds_on(day):
                return entry
        return None


def parse_toml(name: str, text: str) -> dict[str, Any]:
    """Return a document with its numbers exact.

    Raises:
        ConfigurationError: It is not TOML; the message names the file, ``name``.
    """
    try:
        # The default would make floats of them: 0.1 is none.
        return tomllib.loads(text, parse_float=Decimal)
    except (tomllib.TOMLDecodeError, ArithmeticError) as error:
        raise ConfigurationError(f"{name} is not TOML: {error}") from error


def read_price_file(path: Traversable) -> list[PriceEntry]:
    """Return the entries of a user's price list, or of a provider's.

    Args:
        path: A path, or a file within a package.

    Raises:
        ConfigurationError: It cannot be read or is malformed; see :func:`read_entries`.
    """
    name = str(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"the price file {name} cannot be read: {error}") from error
    document = parse_toml(name, text)
    tables = document.pop("price", [])
    for table in document:
        raise ConfigurationError(f"{name}: {table} is unknown; accepted is price")
    entries = read_entries(name, tables)
    for number, entry in enumerate(entries, 1):
        if entry.adds:
            raise ConfigurationError(
                f"{name}: price {number}: adds is True; accepted in the overlay alone"
            )
    return entries


def read_entries(name: str, tables: object) -> list[PriceEntry]:
    """Return the entries of a price list.

    Args:
        name: Of the file, for errors.
        tables: What the document has under ``price``.

    Raises:
        ConfigurationError: An entry is malformed; the message names file, entry, field,
            value and what is accepted.
    """
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ConfigurationError(f"{name}: price is {tables!r:.80}; accepted are tables [[price]]")
    entries = [
        _read_entry(_Reader(f"{name}: price {number}", table))
        for number, table in enumerate(tables, 1)
    ]
    check_overlaps(name, entries)
    return entries


class _Reader:
    """Takes the fields of one table, one by one, and knows what to call them in errors."""

    def __init__(self, place: str, table: Mapping[str, Any]) -> None:
        self.place = place
        self._left = dict(table)

    def take(self, field: str, accepted: str, is_valid: Callable[[Any], bool]) -> Any:
        """Return a field, None where it is missing."""
        value = self._left.pop(field, None)
        if value is not None and not is_valid(value):
            raise self.error(field, value, accepted)
        return value

    def need(self, field: str, accepted: str, is_valid: Callable[[Any], bool]) -> Any:
        """Return a field that may not be missing."""
        if field not in self._left:
            raise ConfigurationError(f"{self.place}: {field} is missing; accepted are {accepted}")
        return self.take(field, accepted, is_valid)

    def take_table(self, field: str) -> _Reader | None:
        """Return the table in a field, None where it is missing."""
        table = self.take(field, "tables", lambda value: isinstance(value, dict))
        return None if table is None else _Reader(f"{self.place}: {field}", table)

    def finish(self, accepted: Iterable[str]) -> None:
        """Refuse unknown fields: a misspelt price would be missing without an error."""
        for field, value in self._left.items():
            raise self.error(field, value, "the fields " + ", ".join(accepted))

    def error(self, field: str, value: object, accepted: str) -> ConfigurationError:
        """Return the error for a field's value."""
        shown = value if isinstance(value, Decimal) else repr(value)
        return ConfigurationError(
            f"{self.place}: {field} is {shown!s:.80}; accepted are {accepted}"
        )


_ENTRY_FIELDS: Final = ("service", "models", "source", "verified", "assumed", "adds")
_DAYS: Final = ("valid_from", "valid_until")


def _read_entry(reader: _Reader) -> PriceEntry:
    service = reader.need("service", _TEXT, _is_text).strip().lower()
    models = reader.need("models", "lists of such texts", _is_list_of_texts)
    names = tuple(model.strip().lower() for model in models)
    reader.place += f" ({service} {names[0]})"
    about = {
        "source": reader.take("source", _TEXT, _is_text),
        "verified": reader.take("verified", _DAY, _is_day),
        "assumed": reader.take("assumed", _TEXT, _is_text),
        "adds": reader.take("adds", "true and false", lambda value: isinstance(value, bool)),
    }
    days = {name: reader.take(name, _DAY, _is_day) for name in _DAYS}
    tiers = {name: _read_variant(reader.take_table(name)) for name in TIERS}
    rates = _read_rates(reader) | _read_long_context(reader)
    accepted = (*_ENTRY_FIELDS, *_DAYS, *RATES, "image", "long_context", *TIERS)
    reader.finish(accepted)
    return PriceEntry(
        service=service,
        models=names,
        price=_make_price(reader.place, rates | days | tiers),
        **{**about, "adds": bool(about["adds"])},
    )


def _read_variant(reader: _Reader | None) -> TokenPrice | None:
    if reader is None:
        return None
    fields = _read_rates(reader) | _read_long_context(reader)
    reader.finish((*RATES, "image", "long_context"))
    return _make_price(reader.place, fields)


def _read_long_context(reader: _Reader) -> dict[str, Any]:
    inner = reader.take_table("long_context")
    if inner is None:
        return {}
    above = inner.need("above", "whole numbers of tokens, 1 or more", _is_threshold)
    rates = _read_rates(inner)
    inner.finish(("above", *RATES, "image"))
    return {"long_context_above": above, "long_context": _make_price(inner.place, rates)}


def _read_rates(reader: _Reader) -> dict[str, Any]:
    rates = {name: reader.take(name, _NUMBER, _is_price) for name in RATES}
    known = {name: Decimal(rate) for name, rate in rates.items() if rate is not None}
    image = reader.take("image", f"{_NUMBER}, and tables of them", _is_price_or_table)
    if isinstance(image, dict):
        inner = _Reader(f"{reader.place}: image", image)
        return {
            **known,
            "image": {kind: Decimal(inner.need(kind, _NUMBER, _is_price)) for kind in image},
        }
    return known if image is None else {**known, "image": Decimal(image)}


def _make_price(place: str, fields: Mapping[str, Any]) -> TokenPrice:
    try:
        return TokenPrice(**fields)
    except ValueError as error:
        raise ConfigurationError(f"{place}: {error}") from error


def check_overlaps(name: str, entries: Iterable[PriceEntry]) -> None:
    """Refuse two prices for one day: which one held would depend on their order.

    Raises:
        ConfigurationError: There are two; the message names ``name`` and the model.
    """
    seen: dict[tuple[str, str, bool], list[TokenPrice]] = {}
    for entry in entries:
        for model in entry.models:
            others = seen.setdefault((entry.service, model, entry.adds), [])
            if any(_overlap(entry.price, other) for other in others):
                raise ConfigurationError(
                    f"{name}: {entry.service} {model} has two prices for the same days; accepted "
                    "are entries whose valid_from and valid_until do not overlap"
                )
            others.append(entry.price)


def _overlap(one: TokenPrice, other: TokenPrice) -> bool:
    starts = max(one.valid_from or date.min, other.valid_from or date.min)
    ends = min(one.valid_until or date.max, other.valid_until or date.max)
    return starts <= ends


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_list_of_texts(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_text, value))


def _is_day(value: object) -> bool:
    return type(value) is date


def _is_threshold(value: object) -> bool:
    return type(value) is int and value >= 1


def _is_price(value: object) -> bool:
    if type(value) is int:
        return value >= 0
    return isinstance(value, Decimal) and value.is_finite() and value >= 0


def _is_price_or_table(value: object) -> bool:
    return isinstance(value, dict) or _is_price(value)
