"""Bad settings are refused where they are given, not later in a background thread."""

from __future__ import annotations

import math
from typing import Any

import pytest

from receipt_dynamo import DynamoClient, ResilientDynamoClient


@pytest.mark.parametrize(
    ("name", "value", "accepted"),
    [
        ("circuit_breaker_threshold", 0, "whole numbers of 1 or more"),
        ("circuit_breaker_threshold", 2.5, "whole numbers of 1 or more"),
        ("circuit_breaker_timeout", 0, "more than 0"),
        ("circuit_breaker_timeout", math.nan, "more than 0"),
        ("max_retry_attempts", 0, "whole numbers of 1 or more"),
        ("max_retry_attempts", True, "whole numbers of 1 or more"),
        ("retry_base_delay", -1.0, "0 or more"),
        ("retry_base_delay", "1", "0 or more"),
        ("batch_size", 26, "whole numbers from 1 to 25"),
        ("batch_size", 0, "whole numbers from 1 to 25"),
        ("batch_flush_interval", -0.1, "0 or more"),
        ("batch_flush_interval", math.inf, "0 or more"),
        ("enable_batch_processing", "yes", "True and False"),
        ("senders", 0, "whole numbers from 1 to 64"),
        ("max_pending_records", 0, "whole numbers of 1 or more"),
        ("max_pending_bytes", None, "whole numbers of 1 or more"),
        ("overflow", "spill", "'refuse', 'drop_oldest', 'raise'"),
    ],
)
def test_a_bad_setting_names_itself_its_value_and_what_is_accepted(
    name: str, value: Any, accepted: str
) -> None:
    with pytest.raises(ValueError, match=name) as caught:
        ResilientDynamoClient("test-table", "us-east-1", **{name: value})
    assert repr(value) in str(caught.value)
    assert accepted in str(caught.value)


@pytest.mark.parametrize("client_type", [DynamoClient, ResilientDynamoClient])
@pytest.mark.parametrize(
    ("name", "value", "accepted"),
    [
        ("gsi_shards", 0, "from 1 to 100"),
        ("gsi_shards", 101, "from 1 to 100"),
        ("gsi_shards", True, "from 1 to 100"),
        ("gsi_shards", 2.0, "from 1 to 100"),
        ("gsi_shards", None, "from 1 to 100"),
        ("retention_days", 0, "from 1 to 36500"),
        ("retention_days", 36_501, "from 1 to 36500"),
        ("retention_days", 0.5, "from 1 to 36500"),
        ("retention_days", "30", "from 1 to 36500"),
    ],
)
def test_a_bad_form_of_items_is_refused_by_both_clients(
    client_type: Any, name: str, value: Any, accepted: str
) -> None:
    with pytest.raises(ValueError, match=name) as caught:
        client_type("test-table", "us-east-1", **{name: value})
    assert str(caught.value) == f"{name} is {value!r}; accepted are whole numbers {accepted}"


@pytest.mark.parametrize("table_name", ["", None, 7])
@pytest.mark.parametrize("client_type", [DynamoClient, ResilientDynamoClient])
def test_a_missing_table_name_is_refused(client_type: Any, table_name: Any) -> None:
    with pytest.raises(ValueError, match="table_name"):
        client_type(table_name, "us-east-1")


@pytest.mark.parametrize("client_type", [DynamoClient, ResilientDynamoClient])
def test_half_a_pair_of_credentials_is_refused(client_type: Any) -> None:
    with pytest.raises(ValueError, match="aws_secret_access_key") as caught:
        client_type("test-table", aws_access_key_id="AKIDSECRET")
    assert "AKIDSECRET" not in str(caught.value)
