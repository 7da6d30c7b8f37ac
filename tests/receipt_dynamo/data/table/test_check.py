"""Each way in which a table can be different gives exactly its finding; no engine is asked."""

from __future__ import annotations

import copy
import json
import shlex
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receipt_dynamo.data.table.check import (
    Fix,
    TableFinding,
    TableOptions,
    TableView,
    find_differences,
)
from receipt_dynamo.data.table.schema import describe_table

Break = Callable[[dict[str, Any]], object]

ON = {"TimeToLiveStatus": "ENABLED", "AttributeName": "expiresAt"}
BACKED_UP = {"PointInTimeRecoveryDescription": {"PointInTimeRecoveryStatus": "ENABLED"}}


def make_table() -> dict[str, Any]:
    """Return what DescribeTable says of a table that is as it should be."""
    table: dict[str, Any] = copy.deepcopy(dict(describe_table("ai-usage")))
    table |= {
        "TableStatus": "ACTIVE",
        "BillingModeSummary": {"BillingMode": table.pop("BillingMode")},
        "ProvisionedThroughput": {"ReadCapacityUnits": 0, "WriteCapacityUnits": 0},
    }
    for index in table["GlobalSecondaryIndexes"]:
        index["IndexStatus"] = "ACTIVE"
    return table


def find(
    table: dict[str, Any],
    expiry: dict[str, Any] | None = ON,
    backups: dict[str, Any] | None = BACKED_UP,
    **more: Any,
) -> list[TableFinding]:
    view = TableView(table=table, expiry=expiry, backups=backups, **more)
    return find_differences(view, TableOptions())


def find_index(table: dict[str, Any], number: int) -> dict[str, Any]:
    index: dict[str, Any] = table["GlobalSecondaryIndexes"][number - 1]
    return index


def set_type(table: dict[str, Any], name: str, kind: str) -> None:
    for attribute in table["AttributeDefinitions"]:
        if attribute["AttributeName"] == name:
            attribute["AttributeType"] = kind


def test_a_table_as_it_should_be_has_no_findings() -> None:
    assert find(make_table()) == []


BROKEN: dict[str, tuple[Break, str, str, bool, str]] = {
    "creating": (
        lambda table: table.update(TableStatus="CREATING"),
        *("table-status", "table", True, "the table is CREATING, not ACTIVE"),
    ),
    "archived": (
        lambda table: table.update(TableStatus="ARCHIVED"),
        *("table-status", "table", True, "the table is ARCHIVED, not ACTIVE"),
    ),
    "hash key": (
        lambda table: table["KeySchema"][0].update(AttributeName="id"),
        *("table-keys", "table", True, "HASH key id where PK belongs"),
    ),
    "no range key": (
        lambda table: table["KeySchema"].pop(),
        *("table-keys", "table", True, "no RANGE key where SK belongs"),
    ),
    "key type": (
        lambda table: set_type(table, "SK", "N"),
        *("table-keys", "table", True, "RANGE key SK is of type N, not S"),
    ),
    "no GSI1": (
        lambda table: table["GlobalSecondaryIndexes"].pop(0),
        *("index-missing", "GSI1", True, "index GSI1 is missing"),
    ),
    "no GSI4": (
        lambda table: table["GlobalSecondaryIndexes"].pop(),
        *("index-missing", "GSI4", False, "index GSI4 is missing"),
    ),
    "index keys": (
        lambda table: find_index(table, 2)["KeySchema"][1].update(AttributeName="date"),
        *("index-keys", "GSI2", True, "index GSI2 has different keys: RANGE key date where GSI2SK"),
    ),
    "index without range key": (
        lambda table: find_index(table, 3)["KeySchema"].pop(),
        *("index-keys", "GSI3", True, "no RANGE key where GSI3SK belongs"),
    ),
    "index key type": (
        lambda table: set_type(table, "GSI3PK", "B"),
        *("index-keys", "GSI3", True, "HASH key GSI3PK is of type B, not S"),
    ),
    "projection": (
        lambda table: find_index(table, 1)["Projection"].update(ProjectionType="KEYS_ONLY"),
        *("index-projection", "GSI1", True, "index GSI1 projects KEYS_ONLY, not whole items"),
    ),
    "index is created": (
        lambda table: find_index(table, 2).update(IndexStatus="CREATING"),
        *("index-status", "GSI2", True, "index GSI2 is CREATING, not ACTIVE"),
    ),
    "index is filled": (
        lambda table: find_index(table, 2).update(IndexStatus="CREATING", Backfilling=True),
        *("index-status", "GSI2", True, "index GSI2 is being filled from the table"),
    ),
    "index is deleted": (
        lambda table: find_index(table, 4).update(IndexStatus="DELETING"),
        *("index-status", "GSI4", True, "index GSI4 is DELETING, not ACTIVE"),
    ),
    "provisioned": (
        lambda table: table.update(BillingModeSummary={"BillingMode": "PROVISIONED"}),
        *("billing-mode", "table", False, "the table's capacity is PROVISIONED"),
    ),
    "bound": (
        lambda table: table.update(OnDemandThroughput={"MaxWriteRequestUnits": 40}),
        *("capacity-bound", "table", False, "the table takes at most 40 write units a second"),
    ),
    "bound of an index": (
        lambda table: find_index(table, 2).update(
            OnDemandThroughput={"MaxReadRequestUnits": 5, "MaxWriteRequestUnits": -1}
        ),
        *("capacity-bound", "GSI2", False, "index GSI2 takes at most 5 read units a second"),
    ),
    "provisioned ever since": (
        lambda table: table.pop("BillingModeSummary"),
        *("billing-mode", "table", False, "the table's capacity is PROVISIONED"),
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_table_that_is_broken_in_one_way_has_exactly_that_finding(name: str) -> None:
    damage, code, subject, is_required, says = BROKEN[name]
    table = make_table()
    damage(table)
    (finding,) = find(table)
    assert (finding.code, finding.subject, finding.is_required) == (code, subject, is_required)
    assert says in finding.says
    assert finding.advice


def test_an_index_that_has_to_be_made_again_anyway_is_one_finding() -> None:
    table = make_table()
    BROKEN["index keys"][0](table)
    find_index(table, 2)["Projection"]["ProjectionType"] = "KEYS_ONLY"
    assert [finding.code for finding in find(table)] == ["index-keys"]


# Damages that leave each other's parts alone.
APART = ("archived", "no GSI4", "projection", "index keys", "index key type", "bound")


@given(st.sets(st.sampled_from(APART)), st.booleans())
def test_a_table_that_is_broken_in_several_ways_has_the_finding_of_each(
    names: set[str], has_expiry: bool
) -> None:
    table = make_table()
    expected = set() if has_expiry else {("ttl-off", "table")}
    for name in names:
        damage, code, subject, *_ = BROKEN[name]
        damage(table)
        expected.add((code, subject))
    findings = find(table, ON if has_expiry else {"TimeToLiveStatus": "DISABLED"})
    assert {(finding.code, finding.subject) for finding in findings} == expected
    assert len(findings) == len(expected)


@pytest.mark.parametrize(
    ("expiry", "code"),
    [
        ({"TimeToLiveStatus": "DISABLED"}, "ttl-off"),
        ({"TimeToLiveStatus": "DISABLING", "AttributeName": "expiresAt"}, "ttl-off"),
        ({"TimeToLiveStatus": "ENABLED", "AttributeName": "ttl"}, "ttl-attribute"),
        ({"TimeToLiveStatus": "ENABLING", "AttributeName": "ttl"}, "ttl-attribute"),
        ({"TimeToLiveStatus": "ENABLING", "AttributeName": "expiresAt"}, None),
        (None, None),
    ],
)
def test_time_to_live_is_on_for_the_right_attribute(
    expiry: dict[str, Any] | None, code: str | None
) -> None:
    found = [(finding.code, finding.is_required) for finding in find(make_table(), expiry)]
    assert found == ([] if code is None else [(code, False)])


def test_nothing_turns_off_a_time_to_live_that_other_items_use() -> None:
    (finding,) = find(make_table(), {"TimeToLiveStatus": "ENABLED", "AttributeName": "ttl"})
    assert finding.fixes == ()
    assert "leave it while other items use ttl" in finding.advice


def test_point_in_time_recovery_is_advised_and_what_is_not_told_is_no_finding_of_it() -> None:
    off = {"PointInTimeRecoveryDescription": {"PointInTimeRecoveryStatus": "DISABLED"}}
    for backups in (off, {"ContinuousBackupsStatus": "DISABLED"}):
        (finding,) = find(make_table(), backups=backups)
        assert (finding.code, finding.is_required) == ("pitr-off", False)
    assert find(make_table(), backups=None, notes=("this engine does not know it",)) == []


def test_what_is_refused_is_a_finding_that_says_so() -> None:
    (finding,) = find(make_table(), expiry=None, refusals=("time to live is unknown: No",))
    assert (finding.code, finding.says) == ("unknown", "time to live is unknown: No")


def test_what_is_not_asked_for_is_not_missed() -> None:
    off = {"PointInTimeRecoveryDescription": {"PointInTimeRecoveryStatus": "DISABLED"}}
    view = TableView(table=make_table(), expiry={"TimeToLiveStatus": "DISABLED"}, backups=off)
    assert find_differences(view, TableOptions(expires=False, recovers=False)) == []
    assert len(find_differences(view, TableOptions())) == 2


def test_all_findings_are_told_and_what_is_required_comes_first() -> None:
    table = make_table()
    for name in ("provisioned", "no GSI4", "index keys"):
        BROKEN[name][0](table)
    found = [finding.code for finding in find(table, {"TimeToLiveStatus": "DISABLED"})]
    assert found == ["index-keys", "index-missing", "billing-mode", "ttl-off"]


@pytest.mark.parametrize("keys", ["hash key", "no range key", "key type"])
def test_different_keys_are_all_that_is_found_and_nothing_of_that_table_is_to_be_changed(
    keys: str,
) -> None:
    """It is somebody else's: whatever else is missing there is none of our business."""
    table = make_table()
    for name in ("provisioned", "no GSI4", "index keys", keys):
        BROKEN[name][0](table)
    (finding,) = find(table, {"TimeToLiveStatus": "DISABLED"})
    assert (finding.code, finding.fixes) == ("table-keys", ())
    assert "journal rehome" in finding.advice


def test_an_index_of_a_provisioned_table_is_created_with_its_capacity() -> None:
    table = make_table()
    table["BillingModeSummary"] = {"BillingMode": "PROVISIONED"}
    table["ProvisionedThroughput"] = {"ReadCapacityUnits": 5, "WriteCapacityUnits": 7}
    table["GlobalSecondaryIndexes"].pop(0)
    missing = next(finding for finding in find(table) if finding.code == "index-missing")
    (update,) = missing.fixes[0].parameters["GlobalSecondaryIndexUpdates"]
    capacity = {"ReadCapacityUnits": 5, "WriteCapacityUnits": 7}
    assert update["Create"]["ProvisionedThroughput"] == capacity


def test_a_fix_is_a_command_of_the_aws_cli_that_a_shell_reads_back() -> None:
    parameters = {"TableName": "it's", "TimeToLiveSpecification": {"Enabled": True}}
    command = Fix("UpdateTimeToLive", parameters).to_cli(["--region", "eu west"])
    words = shlex.split(command)
    assert words[:4] == ["aws", "dynamodb", "update-time-to-live", "--cli-input-json"]
    assert json.loads(words[4]) == parameters
    assert words[5:] == ["--region", "eu west"]
