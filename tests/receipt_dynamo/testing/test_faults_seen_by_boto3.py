"""Every fault: what a boto3 client gets to see, and what the table holds."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import boto3
import botocore
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError

from receipt_dynamo.testing import (
    Corrupt,
    EmptyReply,
    ErrorReply,
    Fault,
    FaultProxy,
    Latency,
    LostReply,
    Reset,
    ServerErrorAfterApply,
    Stall,
    Throttle,
    Truncated,
    UnprocessedItems,
    WrongChecksum,
)
from receipt_dynamo.testing.throttling import THROTTLE_SHAPES

WRITES = ("write_batch", "put")


def write(caller: Any, how: str) -> dict[str, Any]:
    return caller.write_batch(4) if how == "write_batch" else caller.put()


def all_of(how: str) -> set[str]:
    return {"k0", "k1", "k2", "k3"} if how == "write_batch" else {"a"}


def fail(caller: Any, how: str) -> dict[str, Any]:
    with pytest.raises(ClientError) as caught:
        write(caller, how)
    return caught.value.response


@pytest.mark.parametrize("how", WRITES)
def test_no_fault_passes_the_write_and_its_reply(how: str, proxy: FaultProxy, caller: Any) -> None:
    reply = write(caller, how)
    assert reply["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert reply.get("UnprocessedItems", {}) == {}
    assert caller.stored == all_of(how)
    assert caller.checksum_matches


@pytest.mark.parametrize("how", WRITES)
def test_latency_delays_and_changes_nothing(how: str, proxy: FaultProxy, caller: Any) -> None:
    proxy.script(Latency(0.01))
    write(caller, how)
    assert caller.stored == all_of(how)
    assert caller.checksum_matches
    assert proxy.requests[-1].faults == (Latency(0.01),)


def find_reason_members() -> dict[str, str]:
    """Return how each error of this botocore's service model spells its reasons."""
    (path,) = Path(botocore.__file__).parent.glob("data/dynamodb/*/service-2.json.gz")
    shapes = json.loads(gzip.decompress(path.read_bytes()))["shapes"]
    return {
        name: member
        for name, shape in shapes.items()
        for member, target in shape.get("members", {}).items()
        if shape.get("exception") and target["shape"] == "ThrottlingReasonList"
    }


knows_reasons = pytest.mark.skipif(
    not find_reason_members(), reason="this botocore is older than throttling reasons"
)


@knows_reasons
@pytest.mark.parametrize("how", WRITES)
@pytest.mark.parametrize(
    ("code", "member", "reason"),
    [
        (
            "ProvisionedThroughputExceededException",
            "ThrottlingReasons",
            "TableWriteProvisionedThroughputExceeded",
        ),
        ("RequestLimitExceeded", "ThrottlingReasons", "TableWriteAccountLimitExceeded"),
        ("ThrottlingException", "throttlingReasons", "TableWriteKeyRangeThroughputExceeded"),
    ],
)
def test_throttling_reasons_are_spelt_as_dynamodb_does(
    code: str, member: str, reason: str, how: str, proxy: FaultProxy, caller: Any
) -> None:
    proxy.script(Throttle(code))
    response = fail(caller, how)
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert response["Error"]["Code"] == code
    (given,) = response[member]
    assert given["reason"] == reason
    assert given["resource"].endswith(f":table/{caller.table_name}")
    assert caller.stored == set()
    assert caller.checksum_matches


@knows_reasons
def test_throttling_reasons_agree_with_the_service_model() -> None:
    members = {code: shape.reasons_member for code, shape in THROTTLE_SHAPES.items()}
    assert members == find_reason_members()


@knows_reasons
def test_throttling_reasons_can_be_chosen_or_left_out(proxy: FaultProxy, caller: Any) -> None:
    names = ["IndexWriteProvisionedThroughputExceeded", "TableWriteKeyRangeThroughputExceeded"]
    proxy.script(Throttle(reasons=names), Throttle(reasons=()))
    assert [given["reason"] for given in fail(caller, "put")["ThrottlingReasons"]] == names
    assert "ThrottlingReasons" not in fail(caller, "put")


@pytest.mark.parametrize(
    ("fault", "returned"),
    [
        (UnprocessedItems(count=1), 1),
        (UnprocessedItems(count=3), 3),
        (UnprocessedItems(count=9), 4),
        (UnprocessedItems(share=1.0), 4),
    ],
    ids=repr,
)
def test_unprocessed_items_are_not_written_and_the_rest_is(
    fault: Fault, returned: int, proxy: FaultProxy, caller: Any
) -> None:
    proxy.script(fault)
    reply = caller.write_batch(4)
    writes = reply["UnprocessedItems"][caller.table_name]
    keys = {write["PutRequest"]["Item"]["PK"]["S"] for write in writes}
    assert len(writes) == len(keys) == returned
    assert caller.stored == all_of("write_batch") - keys
    assert caller.checksum_matches


def test_unprocessed_items_by_share_follow_the_share(proxy: FaultProxy, caller: Any) -> None:
    proxy.always(UnprocessedItems(share=0.25))
    returned = 0
    for number in range(20):
        reply = caller.write_batch(25, prefix=f"{number}-")
        returned += len(reply["UnprocessedItems"].get(caller.table_name, ()))
    assert returned == pytest.approx(500 * 0.25, rel=0.3)
    assert len(caller.stored) == 500 - returned


def test_unprocessed_items_of_several_tables_keep_their_tables(
    proxy: FaultProxy, caller: Any
) -> None:
    other = f"{caller.table_name}-other"
    caller.direct.create_table(
        TableName=other,
        KeySchema=[{"AttributeName": "PK", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "PK", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    # moto refuses a key that is in two tables of one request; DynamoDB does not.
    writes = [{"PutRequest": {"Item": {"PK": {"S": str(n)}}}} for n in range(10)]
    request = {caller.table_name: writes[:5], other: writes[5:]}
    proxy.script(UnprocessedItems(count=6))
    left = caller.client.batch_write_item(RequestItems=request)["UnprocessedItems"]
    for table, asked in request.items():
        items = caller.direct.scan(TableName=table)["Items"]
        written = [{"PutRequest": {"Item": item}} for item in items]
        assert len(written) + len(left.get(table, [])) == len(asked)
        assert all(write not in left.get(table, []) for write in written)
    assert sum(map(len, left.values())) == 6


def test_unprocessed_items_of_a_single_put_are_a_throttle(proxy: FaultProxy, caller: Any) -> None:
    proxy.script(UnprocessedItems(count=1), UnprocessedItems(share=1.0))
    for _ in range(2):
        assert fail(caller, "put")["Error"]["Code"] == "ProvisionedThroughputExceededException"
    assert caller.stored == set()
    proxy.always(UnprocessedItems(share=0.25))
    for number in range(80):
        try:
            caller.put(str(number))
        except ClientError:
            continue
    assert len(caller.stored) == pytest.approx(60, abs=12)


def test_unprocessed_items_that_dynamodb_refuses_bring_its_error(
    proxy: FaultProxy, caller: Any
) -> None:
    caller.table_name, known = "test-table-of-nobody", caller.table_name
    proxy.script(UnprocessedItems(count=1))
    assert fail(caller, "write_batch")["Error"]["Code"] == "ResourceNotFoundException"
    caller.table_name = known
    assert caller.stored == set()


@pytest.mark.parametrize("how", WRITES)
@pytest.mark.parametrize(
    ("status", "code"),
    [(500, "InternalServerError"), (503, "ServiceUnavailable"), (400, "AccessDeniedException")],
)
def test_error_reply_writes_nothing(
    status: int, code: str, how: str, proxy: FaultProxy, caller: Any
) -> None:
    proxy.script(ErrorReply(status, code, "so it is"))
    response = fail(caller, how)
    assert response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert response["Error"]["Code"] == code
    assert response["Error"]["Message"] == "so it is"
    assert caller.stored == set()
    assert caller.checksum_matches


@pytest.mark.parametrize("how", WRITES)
def test_server_error_after_apply_has_written(how: str, proxy: FaultProxy, caller: Any) -> None:
    proxy.script(ServerErrorAfterApply())
    response = fail(caller, how)
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 500
    assert response["Error"]["Code"] == "InternalServerError"
    assert caller.stored == all_of(how)
    assert caller.checksum_matches


@pytest.mark.parametrize("how", WRITES)
def test_lost_reply_has_written(how: str, proxy: FaultProxy, caller: Any) -> None:
    proxy.script(LostReply())
    with pytest.raises(ConnectionClosedError):
        write(caller, how)
    assert caller.stored == all_of(how)
    assert proxy.requests[-1].status is None


@pytest.mark.parametrize("how", WRITES)
def test_reset_has_not_written(how: str, proxy: FaultProxy, caller: Any) -> None:
    proxy.script(Reset())
    with pytest.raises(ConnectionClosedError) as caught:
        write(caller, how)
    assert "reset by peer" in repr(caught.value.kwargs["error"]).lower()
    assert caller.stored == set()


@pytest.mark.parametrize("how", WRITES)
@pytest.mark.parametrize("share", [0.0, 0.5])
@pytest.mark.parametrize("full_length", [False, True])
def test_a_truncated_200_reply_becomes_an_empty_document(
    share: float, full_length: bool, how: str, proxy: FaultProxy, caller: Any
) -> None:
    """botocore hands out ``{}``, and ``get("UnprocessedItems", {})`` says all is written."""
    proxy.script(Truncated(share, full_length))
    try:
        reply = write(caller, how)
    except ConnectionClosedError:
        assert full_length  # The lowest botocore compares the length; later ones do not.
    else:
        assert reply["ResponseMetadata"]["HTTPStatusCode"] == 200
        assert "UnprocessedItems" not in reply
        headers, body = caller.replies[-1]
        assert not caller.checksum_matches
        assert (int(headers["content-length"]) > len(body)) == full_length
    assert caller.stored == all_of(how)
    caller.put("again")  # The client is still of use.


@pytest.mark.parametrize("how", WRITES)
def test_a_corrupt_body_raises_unicode_decode_error(
    how: str, proxy: FaultProxy, caller: Any
) -> None:
    """No AWS error handler catches it."""
    proxy.script(Corrupt())
    with pytest.raises(UnicodeDecodeError):
        write(caller, how)
    assert caller.stored == all_of(how)


@pytest.mark.parametrize(
    ("fault", "damaged"), [(Corrupt(at=0, mask=1), b'z"Unp'), (Corrupt(at=2, mask=1), b'{"Tnp')]
)
def test_a_corrupt_body_may_stay_text(
    fault: Fault, damaged: bytes, proxy: FaultProxy, caller: Any
) -> None:
    """Only the checksum tells: the member that matters has another name, or there is none."""
    proxy.script(fault)
    reply = caller.write_batch(4)
    assert "UnprocessedItems" not in reply
    assert caller.replies[-1][1].startswith(damaged)
    assert caller.stored == all_of("write_batch")
    assert not caller.checksum_matches


@pytest.mark.parametrize("how", WRITES)
def test_wrong_checksum_of_an_intact_body(how: str, proxy: FaultProxy, caller: Any) -> None:
    proxy.script(WrongChecksum())
    reply = write(caller, how)
    assert reply.get("UnprocessedItems", {}) == {}
    assert caller.stored == all_of(how)
    assert not caller.checksum_matches


def test_empty_reply_has_not_written_a_batch(proxy: FaultProxy, caller: Any) -> None:
    proxy.script(EmptyReply())
    reply = caller.write_batch(4)
    assert set(reply) == {"ResponseMetadata"}
    assert reply["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert caller.stored == set()
    assert caller.checksum_matches


def test_empty_reply_has_written_a_put(proxy: FaultProxy, caller: Any) -> None:
    proxy.script(EmptyReply())
    assert set(caller.put()) == {"ResponseMetadata"}
    assert caller.stored == {"a"}


@pytest.mark.parametrize("how", WRITES)
def test_stall_has_written_and_does_not_reply(how: str, proxy: FaultProxy, caller: Any) -> None:
    config = Config(retries={"total_max_attempts": 1}, read_timeout=0.3)
    caller.client.close()
    caller.client = boto3.client("dynamodb", endpoint_url=proxy.endpoint_url, config=config)
    proxy.script(Stall())
    with pytest.raises(ReadTimeoutError):
        write(caller, how)
    assert caller.stored == all_of(how)


def test_a_stall_ends_by_itself(proxy: FaultProxy, caller: Any) -> None:
    proxy.script(Stall(0.01))
    assert caller.put()["ResponseMetadata"]["HTTPStatusCode"] == 200
