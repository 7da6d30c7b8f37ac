"""Python values and their DynamoDB form (typed maps), with DynamoDB's own limits.

Limits and the size rule are those of the Amazon DynamoDB Developer Guide, pages
"Supported data types and naming rules" and "Item sizes and formats".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Context, Decimal, Inexact
from json.encoder import encode_basestring
from typing import Any, Final, TypeAlias

AttributeValue: TypeAlias = Mapping[str, Any]
"""One typed value of the low-level API, such as ``{"S": "gpt-4o"}``."""

Item: TypeAlias = dict[str, AttributeValue]
"""One whole item of the low-level API, by attribute name."""

MAX_ITEM_BYTES: Final = 400 * 1024
MAX_PARTITION_KEY_BYTES: Final = 2048
MAX_SORT_KEY_BYTES: Final = 1024
MAX_NESTING: Final = 32
METADATA_LEVEL: Final = 2
"""The item itself is the first of DynamoDB's 32 levels, as DynamoDB Local counts them."""
MAX_DIGITS: Final = 38
MAX_EXPONENT: Final = 125
MIN_EXPONENT: Final = -130

_PLAIN_NUMBERS: Final = 10**MAX_DIGITS
"""Below it an int needs no check of its digits and magnitude."""

_ACCEPTED = "accepted are str, int, float, Decimal, bool, None, list, tuple and dict"


# 38 digits that begin between 1E+125 and 1E-130 are 293, and a sum of many has some more. The
# caller's context would round at 28 digits; this one would raise before it rounds.
_EXACT: Final = Context(prec=330, traps=[Inexact])

quote: Final = encode_basestring
"""Encodes a text as JSON, in C; what is not ASCII stays as it is, for fewer bytes."""


def add_exactly(first: Decimal, second: Decimal) -> Decimal:
    """Return the sum of two numbers that DynamoDB can hold, or of sums of them, unrounded."""
    return _EXACT.add(first, second)


def normalize_text(text: str, path: str) -> str:
    """Return ``text`` as a plain str, or say why DynamoDB could not hold it.

    Raises:
        ValueError: It has a lone surrogate, which UTF-8 cannot encode.
    """
    if type(text) is str and text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        # Not chained: the original error carries the whole text.
        raise ValueError(
            f"{path} has a lone surrogate; accepted is text that UTF-8 can encode"
        ) from None
    # A member of a str Enum formats as its name in an f-string; the key needs its value.
    return str.__str__(text)


def normalize_number(number: float | Decimal, path: str) -> int | Decimal:
    """Return ``number`` in its one exact form: int when integral, else Decimal.

    A float is taken by its printed value, so 0.1 is stored as 0.1.

    Raises:
        ValueError: It is NaN or infinite, has more than 38 significant digits, or
            lies outside of DynamoDB's range (1E-130 to 9.9...E+125, and zero).
    """
    if type(number) is int and abs(number) < _PLAIN_NUMBERS:
        return number
    exact = _to_decimal(number, path)
    parts = exact.as_tuple()
    sign, digits, exponent = _drop_zeros(parts.sign, parts.digits, int(parts.exponent))
    if digits == (0,):
        return 0
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"{path} has {len(digits)} significant digits; accepted are up to 38")
    magnitude = exponent + len(digits) - 1
    if not MIN_EXPONENT <= magnitude <= MAX_EXPONENT:
        raise ValueError(
            f"{path} is out of range ({exact:E}); "
            "accepted are zero and magnitudes from 1E-130 to below 1E+126"
        )
    if exponent >= 0:
        return int(exact)
    return exact if digits is parts.digits else Decimal((sign, digits, exponent))


def _to_decimal(number: float | Decimal, path: str) -> Decimal:
    if isinstance(number, int):
        # Compared before printing: Python refuses to print an int of over 4,300 digits.
        if abs(number) >= 10 ** (MAX_EXPONENT + 1):
            raise ValueError(f"{path} is out of range; accepted are magnitudes below 1E+126")
        return Decimal(number)
    exact = Decimal(repr(number)) if isinstance(number, float) else number
    if not exact.is_finite():
        raise ValueError(f"{path} is {exact}; accepted are finite numbers")
    return exact


def _drop_zeros(
    sign: int, digits: tuple[int, ...], exponent: int
) -> tuple[int, tuple[int, ...], int]:
    """Return sign, digits and exponent without trailing zeros.

    ``Decimal.normalize`` is not used: it rounds to the precision of the caller's context.
    """
    end = len(digits)
    while end > 1 and digits[end - 1] == 0:
        end -= 1
    # A whole tuple sliced is that tuple.
    return sign, digits[:end], exponent + len(digits) - end


def normalize_document(value: object, path: str, depth: int) -> Any:
    """Return a deep copy of ``value`` made of what a DynamoDB document can hold.

    Numbers become int or Decimal, tuples become lists.

    Raises:
        ValueError: A value is of another type, nested deeper than 32 levels, a
            number or text that DynamoDB cannot hold, or a map key that is not a
            non-empty string. The message names the path.
    """
    if isinstance(value, str):
        return normalize_text(value, path)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, (int, float, Decimal)):
        return normalize_number(value, path)
    if isinstance(value, (Mapping, list, tuple)):
        return _normalize_container(value, path, depth)
    raise ValueError(f"{path} is of type {type(value).__name__}; {_ACCEPTED}")


def _normalize_container(
    container: Mapping[Any, Any] | list[Any] | tuple[Any, ...], path: str, depth: int
) -> Any:
    if depth > MAX_NESTING:
        raise ValueError(
            f"{path} is nested too deeply; accepted are up to {MAX_NESTING} levels, "
            "the item itself counted"
        )
    if isinstance(container, Mapping):
        return {
            _normalize_key(key, path): element
            if _is_plain(element)
            else normalize_document(element, f"{path}.{key}", depth + 1)
            for key, element in container.items()
        }
    return [
        element
        if _is_plain(element)
        else normalize_document(element, f"{path}[{index}]", depth + 1)
        for index, element in enumerate(container)
    ]


def _is_plain(value: Any) -> bool:
    """Return whether a value is of a usual type, which needs no check and no path for an error."""
    kind = type(value)
    if kind is str:
        return bool(value.isascii())
    if kind is int:
        return bool(abs(value) < _PLAIN_NUMBERS)
    return value is None or kind is bool


def _normalize_key(key: object, path: str) -> str:
    if type(key) is str and key and key.isascii():
        return key
    if not isinstance(key, str) or not key:
        raise ValueError(f"{path} has the key {key!r}; accepted are non-empty strings")
    return normalize_text(key, f"{path} key")


def format_number(number: int | Decimal) -> str:
    """Return the number in plain digits, never in exponent form.

    Readers of earlier writers parse counts by ``int(...)``, which fails on "1e-07".
    """
    text = str(number)
    # A lower-case "e" if the caller's decimal context asks for it.
    return format(number, "f") if "E" in text or "e" in text else text


def parse_number(text: str) -> int | Decimal:
    """Return what ``{"N": text}`` holds: int when integral, else Decimal."""
    number = Decimal(text)
    return int(number) if number == number.to_integral_value() else number


def encode_value(value: Any) -> str:
    """Encode a normalized document value as a typed map in JSON."""
    if isinstance(value, str):
        return f'{{"S":{quote(value)}}}'
    if isinstance(value, dict):
        members = [f"{quote(key)}:{encode_value(element)}" for key, element in value.items()]
        return f'{{"M":{{{",".join(members)}}}}}'
    if value is None:
        return '{"NULL":true}'
    if isinstance(value, bool):
        return '{"BOOL":true}' if value else '{"BOOL":false}'
    if isinstance(value, (int, Decimal)):
        return f'{{"N":"{format_number(value)}"}}'
    return f'{{"L":[{",".join([encode_value(element) for element in value])}]}}'


def from_attribute_value(attribute: AttributeValue) -> Any:
    """Decode a typed map; sets become lists.

    Raises:
        ValueError: The type is unknown, or binary, which no record of ours holds.
    """
    kind, value = next(iter(attribute.items()))
    match kind:
        case "S" | "BOOL":
            return value
        case "N":
            return parse_number(value)
        case "NULL":
            return None
        case "M":
            return {key: from_attribute_value(element) for key, element in value.items()}
        case "L":
            return [from_attribute_value(element) for element in value]
        case "SS" | "NS":
            member = kind[0]
            return [from_attribute_value({member: element}) for element in value]
    raise ValueError(f"attribute type {kind!r} is not one that a record holds")


def measure_item(item: Item) -> int:
    """Return the item's size in bytes by DynamoDB's rule: names and values together."""
    return sum(len(name.encode()) + _measure(value) for name, value in item.items())


def _measure(attribute: AttributeValue) -> int:
    kind, value = next(iter(attribute.items()))
    if kind == "S":
        return len(value.encode())
    if kind == "N":
        return _measure_number(value)
    if kind == "M":
        return 3 + sum(1 + len(key.encode()) + _measure(element) for key, element in value.items())
    if kind == "L":
        return 3 + sum(1 + _measure(element) for element in value)
    return 1


def _measure_number(text: str) -> int:
    """One byte for two significant digits, one byte more, and one for a minus sign."""
    digits = text.lstrip("-").replace(".", "").strip("0")
    return math.ceil(len(digits) / 2) + 1 + text.startswith("-")
