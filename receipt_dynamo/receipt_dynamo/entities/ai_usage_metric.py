"""The record of one AI call, to and from its DynamoDB form."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import KW_ONLY, field
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from operator import attrgetter
from typing import Annotated, Any, ClassVar, Final

from pydantic import BeforeValidator, ConfigDict
from pydantic.dataclasses import dataclass
from pydantic_core import from_json

from receipt_dynamo.entities.attribute_values import (
    MAX_ITEM_BYTES,
    MAX_PARTITION_KEY_BYTES,
    MAX_SORT_KEY_BYTES,
    METADATA_LEVEL,
    AttributeValue,
    Item,
    encode_value,
    from_attribute_value,
    measure_item,
    normalize_document,
    normalize_number,
    normalize_text,
    parse_number,
)
from receipt_dynamo.entities.wire_form import (
    FORM_BYTES,
    ITEM_TYPE,
    NUMBER_ATTRIBUTES,
    TEXT_ATTRIBUTES,
    batch_partition_key,
    cost_sort_key,
    encode_call,
    encode_expiry,
    encode_group_keys,
    encode_numbers,
    encode_shared_attributes,
    encode_texts,
    find_shard,
    job_partition_key,
    usage_partition_key,
    usage_sort_key,
)
from receipt_dynamo.errors import ReceiptDynamoError


class InvalidItemError(ReceiptDynamoError, ValueError):
    """An item read from the table is not a whole AIUsageMetric."""


class ItemTooLargeError(ReceiptDynamoError, ValueError):
    """A record exceeds 400 KB with what a client's form adds: a shard's keys, and an expiry."""

    def __init__(self) -> None:
        super().__init__(
            f"the item is larger than {MAX_ITEM_BYTES} bytes with the keys of a shard and the "
            "expiry that gsi_shards and retention_days add; accepted are records with "
            f"{FORM_BYTES} bytes to spare"
        )


def _check_text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"is of type {type(value).__name__}; accepted is str")
    return normalize_text(value, "the text")


def _check_name(value: object) -> str:
    text = _check_text(value).strip()
    if not text:
        raise ValueError("is empty; accepted is a non-empty str")
    return text


def _check_optional_text(value: object) -> str | None:
    return None if value is None or value == "" else _check_text(value)


def _check_timestamp(value: object) -> datetime:
    if not isinstance(value, datetime):
        raise ValueError(f"is of type {type(value).__name__}; accepted is datetime")
    if type(value) is datetime and value.tzinfo is UTC and not value.fold:
        return value
    utc = value if value.tzinfo is None else value.astimezone(UTC)
    # A plain datetime: a subclass may print more digits than can be read back.
    return datetime.combine(utc.date(), utc.time(), UTC)


def _check_count(value: object) -> int | None:
    if value is None:
        return None
    if type(value) is int and 0 <= value < 1 << 63:  # As all real ones are.
        return value
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"is of type {type(value).__name__}; accepted is int, 0 or more")
    if value < 0:
        raise ValueError(f"is {value}; accepted is int, 0 or more")
    return int(normalize_number(value, "the number"))


def _check_amount(value: object) -> Decimal | None:
    amount = _read_amount(value)
    return None if amount is None else Decimal(normalize_number(amount, "the amount"))


def _check_duration(value: object) -> int | None:
    amount = _read_amount(value)
    if amount is None:
        return None
    # The caller's context has no say: this neither looks at its precision nor signals.
    whole = amount.to_integral_value(ROUND_HALF_UP)
    return int(normalize_number(whole, "the duration"))


def _read_amount(value: object) -> Decimal | None:
    """Return a finite number of 0 or more as a Decimal, a float by its printed value."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (Decimal, int, float, str)):
        raise ValueError(
            f"is of type {type(value).__name__}; accepted are Decimal, int, float and str"
        )
    try:
        amount = Decimal(str(value)) if isinstance(value, float) else Decimal(value)
    except InvalidOperation:
        raise ValueError("is not a number; accepted is a decimal number, 0 or more") from None
    if amount < 0 if amount.is_finite() else True:
        raise ValueError(f"is {value}; accepted is a finite number, 0 or more")
    return amount


def _check_metadata(value: object) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ValueError(f"is of type {type(value).__name__}; accepted is dict")
    document: dict[str, Any] = normalize_document(value, "metadata", depth=METADATA_LEVEL)
    return document


_Name = Annotated[str, BeforeValidator(_check_name)]
_Service = Annotated[str, BeforeValidator(lambda value: _check_name(value).lower())]
_OptionalText = Annotated[str | None, BeforeValidator(_check_optional_text)]
_Timestamp = Annotated[datetime, BeforeValidator(_check_timestamp)]
_Count = Annotated[int, BeforeValidator(_check_count)]
_OptionalCount = Annotated[int | None, BeforeValidator(_check_count)]
_Amount = Annotated[Decimal | None, BeforeValidator(_check_amount)]
_Duration = Annotated[int | None, BeforeValidator(_check_duration)]
_Metadata = Annotated[dict[str, Any], BeforeValidator(_check_metadata)]


def _new_request_id() -> str:
    return str(uuid.uuid4())


# Input values never show in errors: they may hold a user's data.
@dataclass(frozen=True, config=ConfigDict(hide_input_in_errors=True, extra="forbid"))
class AIUsageMetric:
    """One AI call: what it used, what it cost, for whom and why. Immutable.

    Args:
        service: Provider, such as "openai"; stored in lower case.
        model: Model that served the call.
        operation: Kind of call, such as "completion".
        timestamp: Start of the call. A naive time is taken as UTC; an aware one is
            converted to UTC.
        request_id: The provider's response id; a new UUID by default. Together with
            service, model and timestamp it is the record's identity.
        input_tokens: Tokens read, cached ones included; None when unknown.
        output_tokens: Tokens written; None when unknown.
        total_tokens: By default the sum of those of the two that are known.
        api_calls: Number of calls that the record stands for; 1 by default.
        cost_usd: Cost in USD as Decimal; a float or str is taken by its printed
            value. None means unpriced, which is not the same as 0.
        latency_ms: Duration of the call in milliseconds, as int, float or Decimal; whole ones
            are kept, rounded half up: 0.5 is 1. Readers of the table parse it by ``int(...)``.
        user_id: On whose behalf.
        job_id: The job's id; makes the record findable by job (GSI3).
        batch_id: The batch's id; makes it findable by batch (GSI3, or GSI4 if there
            is a job as well).
        github_pr: Number of the pull request that the call was made for.
        environment: Deployment, such as "production".
        error: Type and short text of the failure, for a call that failed.
        metadata: Anything else, as a document of str, numbers, bool, None, lists and
            dicts; numbers become int or Decimal.

    Raises:
        pydantic.ValidationError: (a ValueError) A field is missing, unknown, of a wrong
            type or out of bounds, or the whole item would exceed DynamoDB's 400 KB.
            It names the field and what is accepted.
    """

    service: _Service
    model: _Name
    operation: _Name
    timestamp: _Timestamp
    _: KW_ONLY
    request_id: _Name = field(default_factory=_new_request_id)
    input_tokens: _OptionalCount = None
    output_tokens: _OptionalCount = None
    total_tokens: _OptionalCount = None
    api_calls: _Count = 1
    cost_usd: _Amount = None
    latency_ms: _Duration = None
    user_id: _OptionalText = None
    job_id: _OptionalText = None
    batch_id: _OptionalText = None
    github_pr: _OptionalCount = None
    environment: _OptionalText = None
    error: _OptionalText = None
    metadata: _Metadata = field(default_factory=dict)

    # Set on a record that was read under another key than it would get today (a naive
    # timestamp of an earlier writer), so that writing it again overwrites it.
    _stored_key: ClassVar[tuple[str, str] | None] = None

    negative_figures: ClassVar[tuple[str, ...]] = ()
    """Attributes of the item that it was read from which held a negative number: an earlier writer
    used -1 for "failed". Here they are unknown."""

    # The timestamp in ISO 8601, which four attributes hold.
    _timestamp_text: ClassVar[str]

    def __post_init__(self) -> None:
        """Complete the total, and check what only the whole item shows."""
        if self.total_tokens is None:
            known = [
                count for count in (self.input_tokens, self.output_tokens) if count is not None
            ]
            if known:
                object.__setattr__(self, "total_tokens", sum(known))
        object.__setattr__(self, "_timestamp_text", self.timestamp.isoformat())
        self._check_keys()
        self._check_size()

    def __hash__(self) -> int:
        """Hash by identity of the call; equal records have equal keys."""
        return hash((self.service, self.model, self.timestamp, self.request_id))

    def _check_keys(self) -> None:
        keys = [
            ("service and model", usage_partition_key(self.service, self.model), "PK"),
            ("request_id", usage_sort_key(self._timestamp_text, self.request_id), "SK"),
            ("service", cost_sort_key("YYYY-MM-DD", self.service), "SK"),
        ]
        if self.job_id:
            keys.append(("job_id", job_partition_key(self.job_id), "PK"))
        if self.batch_id:
            keys.append(("batch_id", batch_partition_key(self.batch_id), "PK"))
        for name, key, kind in keys:
            limit = MAX_PARTITION_KEY_BYTES if kind == "PK" else MAX_SORT_KEY_BYTES
            # A cheap bound first: UTF-8 takes at most 4 bytes a character.
            if len(key) * 4 > limit and (size := len(key.encode())) > limit:
                raise ValueError(
                    f"{name} makes a key of {size} bytes; accepted are up to {limit} bytes"
                )

    def _check_size(self) -> None:
        if self._is_small():
            return
        size = measure_item(self.to_dynamodb_item())
        if size > MAX_ITEM_BYTES:
            raise ValueError(
                f"the item is {size} bytes, most of it in error or metadata; "
                f"accepted are up to {MAX_ITEM_BYTES} bytes"
            )

    def _is_small(self) -> bool:
        texts = (self.operation, self.user_id, self.environment, self.error)
        characters = sum([len(text) for text in texts if text])
        if self.metadata:
            characters += len(repr(self.metadata))
        # A cheap bound first: UTF-8 takes at most 4 bytes a character, a printed document has
        # more characters than a stored one has bytes / 4, and the keys and ids are bounded.
        return characters < MAX_ITEM_BYTES // 8

    def has_room(self) -> bool:
        """Whether the item stays within 400 KB in the form of every client.

        A client with ``gsi_shards`` makes two keys longer, and ``retention_days`` adds an
        attribute: 34 bytes together. An item without room for them may be refused.
        """
        return self._is_small() or (
            measure_item(self.to_dynamodb_item()) <= MAX_ITEM_BYTES - FORM_BYTES
        )

    @property
    def key(self) -> tuple[str, str]:
        """The record's PK and SK in the table."""
        return self._stored_key or (
            usage_partition_key(self.service, self.model),
            usage_sort_key(self._timestamp_text, self.request_id),
        )

    def to_dynamodb_item(self, gsi_shards: int = 1, retention_days: int | None = None) -> Item:
        """Return the item as the typed maps of DynamoDB's low-level API.

        Args:
            gsi_shards: Number of partitions that the keys of GSI1 and GSI2 are spread over. It
                must be in the table first: the clients do that, see ``docs/queries.md``.
            retention_days: Days after its timestamp when the item expires; None for never.
        """
        item: Item = from_json(self.to_dynamodb_json(gsi_shards, retention_days))
        return item

    def to_dynamodb_json(self, gsi_shards: int = 1, retention_days: int | None = None) -> bytes:
        """Return the item as compact JSON in UTF-8, as DynamoDB's low-level API sends it.

        Args:
            gsi_shards: As of :meth:`to_dynamodb_item`.
            retention_days: As of :meth:`to_dynamodb_item`.
        """
        timestamp = self._timestamp_text
        shard = 0 if gsi_shards == 1 else find_shard(self.request_id, gsi_shards)
        members = [
            encode_shared_attributes(self.service, self.model, timestamp[:10], shard),
            encode_call(self.key, self.operation, timestamp, self.request_id),
        ]
        members += encode_texts(_read_texts(self))
        members += encode_numbers(_read_numbers(self))
        if self.job_id or self.batch_id:
            members += encode_group_keys(self.job_id, self.batch_id, timestamp)
        if retention_days is not None:
            members.append(encode_expiry(self.timestamp, retention_days))
        if self.metadata:
            members.append(f'"metadata":{encode_value(self.metadata)}')
        return f"{{{','.join(members)}}}".encode()

    @classmethod
    def from_dynamodb_item(cls, item: Mapping[str, AttributeValue]) -> AIUsageMetric:
        """Return the record that ``item`` holds; unknown attributes are ignored.

        Args:
            item: Typed maps, as the low-level API returns them. Optional attributes may be
                absent, as earlier writers left them, and the timestamp naive. A negative figure
                is read as unknown, and named in ``negative_figures``; a fraction of a
                millisecond is rounded; an environment that is in the metadata only is taken
                from there. A record that is written again has the same key, and these figures.

        Raises:
            InvalidItemError: An attribute is missing or malformed; it names the item's
                key and the attribute.
        """
        try:
            return cls._read(item)
        except InvalidItemError:
            raise
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise InvalidItemError(
                f"{_describe(item)} is not a readable {ITEM_TYPE}: {error}"
            ) from error

    @classmethod
    def _read(cls, item: Mapping[str, AttributeValue]) -> AIUsageMetric:
        def text(attribute: str) -> str:
            if attribute not in item:
                raise InvalidItemError(f"{_describe(item)} has no attribute {attribute!r}")
            return str(_read_typed(item, attribute, "S"))

        figures = _read_figures(item)
        negative = tuple(name for name, figure in figures.items() if figure < 0)
        fields: dict[str, Any] = {
            field: figures[name]
            for field, name in NUMBER_ATTRIBUTES.items()
            if name in figures and name not in negative
        }
        fields |= _read_text_fields(item)
        fields["metadata"] = _read_metadata(item)
        metric = cls(
            text("service"),
            text("model"),
            text("operation"),
            _read_time(item, text("timestamp")),
            request_id=text("requestId"),
            **fields,
        )
        stored_key = (text("PK"), text("SK"))
        if stored_key != metric.key:
            object.__setattr__(metric, "_stored_key", stored_key)
        if negative:
            object.__setattr__(metric, "negative_figures", negative)
        return metric


_read_texts: Final = attrgetter(*TEXT_ATTRIBUTES)
_read_numbers: Final = attrgetter(*NUMBER_ATTRIBUTES)


# An attribute that is NULL is as good as none. One of another type than the wire form's is an
# error: a cost that is passed over makes a wrong sum.


def _read_figures(item: Mapping[str, AttributeValue]) -> dict[str, int | Decimal]:
    return {
        name: parse_number(_read_typed(item, name, "N"))
        for name in NUMBER_ATTRIBUTES.values()
        if name in item and "NULL" not in item[name]
    }


def _read_text_fields(item: Mapping[str, AttributeValue]) -> dict[str, str]:
    texts = {
        field: _read_typed(item, name, "S")
        for field, name in TEXT_ATTRIBUTES.items()
        if name in item and "NULL" not in item[name]
    }
    if not texts.get("environment"):
        # Some earlier writers have it in the metadata only.
        found = item.get("metadata", {}).get("M", {}).get("environment", {})
        texts |= {"environment": found["S"]} if "S" in found else {}
    return texts


def _read_metadata(item: Mapping[str, AttributeValue]) -> Any:
    metadata = item.get("metadata", {})
    # In no sum: another form is passed over.
    return from_attribute_value(metadata) if "M" in metadata else None


def _read_typed(item: Mapping[str, AttributeValue], attribute: str, kind: str) -> Any:
    value = item[attribute]
    if kind not in value:
        raise InvalidItemError(
            f"{_describe(item)} has the attribute {attribute!r} of type "
            f"{', '.join(value)}; accepted is {kind}"
        )
    return value[kind]


def _read_time(item: Mapping[str, AttributeValue], text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise InvalidItemError(
            f"{_describe(item)} has a 'timestamp' that is not a time in ISO 8601"
        ) from None


def _describe(item: Mapping[str, AttributeValue]) -> str:
    keys = (str(item.get(name, {}).get("S", "missing")) for name in ("PK", "SK"))
    return "the item with PK {!r} and SK {!r}".format(*keys)
