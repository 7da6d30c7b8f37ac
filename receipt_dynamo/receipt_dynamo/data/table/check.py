"""Compare a table with the one that the records need. Pure: from its descriptions alone."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from receipt_dynamo.data.table.schema import (
    BATCH_OF_JOB_INDEX,
    INDEXES,
    describe_index,
    describe_keys,
)
from receipt_dynamo.entities.wire_form import EXPIRY_ATTRIBUTE

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import TagTypeDef

Description = Mapping[str, Any]
"""DynamoDB's description of a table, or of a part of it."""

UNKNOWN: Final = "unknown"
"""Code of the finding that a part of the table could not be looked at."""

_WHOLE_ITEMS: Final = "ALL"
_KEY_TYPE: Final = "S"

_NO_BOUND: Final = -1

# What a table that can be read and written may be called: indexes come and go meanwhile.
_USABLE: Final = frozenset({"ACTIVE", "UPDATING"})
_ON: Final = frozenset({"ENABLED", "ENABLING"})


@dataclass(frozen=True, slots=True)
class Fix:
    """A call of DynamoDB's API that heals a finding.

    Attributes:
        operation: Its name, such as UpdateTable.
        parameters: Its parameters, the table's name among them.
    """

    operation: str
    parameters: Mapping[str, Any]

    def to_cli(self, arguments: Sequence[str] = ()) -> str:
        """Return the command of the AWS CLI that makes this call.

        Args:
            arguments: Further ones, such as a region.
        """
        command = re.sub(r"(?<!^)(?=[A-Z])", "-", self.operation).lower()
        parameters = json.dumps(self.parameters, separators=(",", ":"))
        return shlex.join(["aws", "dynamodb", command, "--cli-input-json", parameters, *arguments])


@dataclass(frozen=True, slots=True)
class TableFinding:
    """One thing that is missing or different.

    Attributes:
        code: Which kind of thing, for programs.
        subject: Where: "table", or an index's name.
        says: What is found, in words.
        advice: What to do, in words.
        fixes: The calls that do it, one after the other, each when the table is active.
        is_required: Whether records cannot be written or read as they should; else it is
            advised.
    """

    code: str
    subject: str
    says: str
    advice: str
    fixes: tuple[Fix, ...] = ()
    is_required: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class TableView:
    """What DynamoDB returns about a table.

    Attributes:
        table: The reply of DescribeTable.
        expiry: That of DescribeTimeToLive, or None without one.
        backups: That of DescribeContinuousBackups, or None without one.
        notes: Parts that are None because this engine does not know the feature.
        refusals: Parts that are None for another reason, with the reason.
    """

    table: Description
    expiry: Description | None = None
    backups: Description | None = None
    notes: tuple[str, ...] = ()
    refusals: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TableOptions:
    """The features that a table should have beside keys and indexes, which are required.

    Attributes:
        expires: Time to live on the attribute that holds when a record expires; for what is
            written with ``retention_days``.
        recovers: Point-in-time recovery.
        is_protected: Deletion protection, for a table that is made.
        tags: Of a table that is made.
    """

    expires: bool = True
    recovers: bool = True
    is_protected: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)


def list_tags(options: TableOptions) -> list[TagTypeDef]:
    """Return the tags as CreateTable takes them."""
    return [{"Key": key, "Value": value} for key, value in options.tags.items()]


def find_differences(view: TableView, options: TableOptions) -> list[TableFinding]:
    """Return what is missing or different, first what is required.

    Different keys are all that is returned: it is somebody else's table, and nothing of it is to
    be changed.
    """
    if keys := list(check_keys(view.table)):
        return keys
    findings = [
        *_check_status(view.table),
        *(finding for index in INDEXES for finding in _check_index(view.table, index)),
        *_check_billing(view.table),
        *_check_caps(view.table),
    ]
    if options.expires and view.expiry is not None:
        findings += _check_expiry(view.table, view.expiry)
    if options.recovers and view.backups is not None:
        findings += _check_backups(view.table, view.backups)
    findings += [_mention_refusal(said) for said in view.refusals]
    return findings


def _mention_refusal(said: str) -> TableFinding:
    advice = "allow these credentials to see it (docs/permissions.md), or try again"
    return TableFinding(UNKNOWN, "table", said, advice, is_required=False)


def _check_status(table: Description) -> Iterator[TableFinding]:
    status = table.get("TableStatus")
    if status not in _USABLE:
        yield TableFinding(
            "table-status",
            "table",
            f"the table is {status}, not ACTIVE",
            "wait until it is active"
            if status == "CREATING"
            else "restore it, or name another table",
        )


def check_keys(table: Description) -> Iterator[TableFinding]:
    """Yield what is different about a table's own keys, by what DescribeTable says of it."""
    differences = list(_compare_keys(table, table, describe_keys("")))
    if differences:
        yield TableFinding(
            "table-keys",
            "table",
            f"the table's keys are different: {', '.join(differences)}",
            "it is a table for something else, and keys cannot be changed: name another table, or "
            "make one with 'table create'; 'journal rehome' sends there what waits for this one",
        )


def _check_index(table: Description, name: str) -> Iterator[TableFinding]:
    index = _index_by_name(table).get(name)
    if index is None:
        # The batch query then reads a range of days instead: see MetricQueries.
        is_required = name != BATCH_OF_JOB_INDEX
        yield TableFinding(
            "index-missing",
            name,
            f"index {name} is missing",
            "create it",
            (_create_index(table, name),),
            is_required,
        )
        return
    yield from _check_index_form(table, name, index)
    yield from _check_index_status(name, index)


def _check_index_form(table: Description, name: str, index: Description) -> Iterator[TableFinding]:
    fixes = (_update_index(table, {"Delete": {"IndexName": name}}), _create_index(table, name))
    again = "delete it and create it again"
    differences = list(_compare_keys(table, index, describe_keys(name)))
    if differences:
        says = f"index {name} has different keys: {', '.join(differences)}"
        yield TableFinding("index-keys", name, says, again, fixes)
        return
    projection = index.get("Projection", {}).get("ProjectionType")
    if projection != _WHOLE_ITEMS:
        says = f"index {name} projects {projection}, not whole items ({_WHOLE_ITEMS})"
        yield TableFinding("index-projection", name, says, again, fixes)


def _check_index_status(name: str, index: Description) -> Iterator[TableFinding]:
    status = index.get("IndexStatus")
    if index.get("Backfilling"):
        says = f"index {name} is being filled from the table; queries fail until it is active"
        yield TableFinding("index-status", name, says, "wait until it is active")
    elif status not in _USABLE:
        says = f"index {name} is {status}, not ACTIVE"
        advice = "wait until it is gone, then create it" if status == "DELETING" else "wait for it"
        yield TableFinding("index-status", name, says, advice)


def _compare_keys(
    table: Description, owner: Description, expected: Iterable[Description]
) -> Iterator[str]:
    """Return how the keys of a table or an index differ, by their roles."""
    types = {
        attribute["AttributeName"]: attribute["AttributeType"]
        for attribute in table.get("AttributeDefinitions") or ()
    }
    found = {key["KeyType"]: key["AttributeName"] for key in owner.get("KeySchema") or ()}
    for key in expected:
        role, name = key["KeyType"], key["AttributeName"]
        if role not in found:
            yield f"no {role} key where {name} belongs"
        elif found[role] != name:
            yield f"{role} key {found[role]} where {name} belongs"
        elif types.get(name, _KEY_TYPE) != _KEY_TYPE:
            yield f"{role} key {name} is of type {types[name]}, not {_KEY_TYPE}"


def _check_billing(table: Description) -> Iterator[TableFinding]:
    # For a table that never was on demand, DynamoDB returns no mode at all.
    mode = table.get("BillingModeSummary", {}).get("BillingMode", "PROVISIONED")
    if mode != "PAY_PER_REQUEST":
        yield TableFinding(
            "billing-mode",
            "table",
            f"the table's capacity is {mode}: it throttles what is above it",
            "make it on-demand, unless the capacity is planned",
            (_fix(table, "UpdateTable", BillingMode="PAY_PER_REQUEST"),),
            is_required=False,
        )


def _check_caps(table: Description) -> Iterator[TableFinding]:
    """Look for bounds that somebody has set on a capacity that is on demand otherwise.

    The write to an index counts against the index's own, and holds up the table's.
    """
    owners = {"table": table, **_index_by_name(table)}
    for name, owner in owners.items():
        bounds = owner.get("OnDemandThroughput") or {}
        for kind in ("Write", "Read"):
            units = bounds.get(f"Max{kind}RequestUnits", _NO_BOUND)
            if units != _NO_BOUND:
                which = "the table" if name == "table" else f"index {name}"
                yield TableFinding(
                    "capacity-bound",
                    name,
                    f"{which} takes at most {units} {kind.lower()} units a second",
                    "it throttles what is above; set OnDemandThroughput to -1 if that is not meant",
                    is_required=False,
                )


def _index_by_name(table: Description) -> dict[str, Description]:
    return {index["IndexName"]: index for index in table.get("GlobalSecondaryIndexes") or ()}


def _check_expiry(table: Description, expiry: Description) -> Iterator[TableFinding]:
    is_on = expiry.get("TimeToLiveStatus") in _ON
    attribute = expiry.get("AttributeName")
    if is_on and attribute == EXPIRY_ATTRIBUTE:
        return
    if is_on:
        # A table has one such attribute. Items of other types may need that one: nothing here
        # turns it off.
        yield TableFinding(
            "ttl-attribute",
            "table",
            f"time to live is on attribute {attribute}, not {EXPIRY_ATTRIBUTE}: records with "
            f"{EXPIRY_ATTRIBUTE} stay for ever",
            f"leave it while other items use {attribute}, and keep the records in a table of "
            "their own if they are to expire",
            is_required=False,
        )
    else:
        yield TableFinding(
            "ttl-off",
            "table",
            f"time to live is off: records with {EXPIRY_ATTRIBUTE} stay for ever",
            "turn it on, unless all records are to be kept",
            (_turn_expiry_on(table),),
            is_required=False,
        )


def _check_backups(table: Description, backups: Description) -> Iterator[TableFinding]:
    recovery = backups.get("PointInTimeRecoveryDescription", {})
    if recovery.get("PointInTimeRecoveryStatus") != "ENABLED":
        specification = {"PointInTimeRecoveryEnabled": True}
        yield TableFinding(
            "pitr-off",
            "table",
            "point-in-time recovery is off: what is deleted or overwritten is gone",
            "turn it on, unless the records are of no value",
            (
                _fix(
                    table,
                    "UpdateContinuousBackups",
                    PointInTimeRecoverySpecification=specification,
                ),
            ),
            is_required=False,
        )


def _fix(table: Description, operation: str, **parameters: object) -> Fix:
    return Fix(operation, {"TableName": table["TableName"], **parameters})


def _turn_expiry_on(table: Description) -> Fix:
    specification = {"Enabled": True, "AttributeName": EXPIRY_ATTRIBUTE}
    return _fix(table, "UpdateTimeToLive", TimeToLiveSpecification=specification)


def _create_index(table: Description, name: str) -> Fix:
    index: dict[str, Any] = dict(describe_index(name))
    capacity = table.get("ProvisionedThroughput", {})
    if capacity.get("WriteCapacityUnits"):  # Of a table on demand they are 0.
        units = ("ReadCapacityUnits", "WriteCapacityUnits")
        index["ProvisionedThroughput"] = {unit: capacity[unit] for unit in units}
    return _update_index(
        table,
        {"Create": index},
        AttributeDefinitions=[
            {"AttributeName": key["AttributeName"], "AttributeType": _KEY_TYPE}
            for key in describe_keys(name)
        ],
    )


def _update_index(table: Description, update: Mapping[str, Any], **more: object) -> Fix:
    return _fix(table, "UpdateTable", **more, GlobalSecondaryIndexUpdates=[update])
