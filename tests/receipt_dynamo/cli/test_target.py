"""A command that reaches a table: which one, and what it says when it cannot."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from string import Formatter
from typing import Any

import botocore.exceptions
import pytest
from botocore.exceptions import BotoCoreError, ClientError, WaiterError

from receipt_dynamo import DynamoClient
from receipt_dynamo.cli.command_line import guard
from receipt_dynamo.cli.explain import explain_failure, is_from_boto3
from receipt_dynamo.cli.output import make_printable, remark, say
from receipt_dynamo.cli.target import add_target, find_table, open_client
from receipt_dynamo.data.failures import _KIND_BY_NAME
from receipt_dynamo.testing import ErrorReply, FaultProxy
from support.command_runs import Ended

Run = Callable[..., Ended]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command that counts the records of a day."""
    parser = argparse.ArgumentParser(prog="count")
    add_target(parser)

    def count(chosen: argparse.Namespace) -> int:
        client = open_client(chosen)
        remark(chosen, "counting")
        records = sum(1 for _ in client.query_ai_usage_costs_by_date("2026-03-01"))
        say(f"{records} records in {client.table_name}")
        return 0

    def run_command(*arguments: str) -> Ended:
        status = guard(count, parser)(parser.parse_args(arguments))
        return Ended(status, *capsys.readouterr())

    return run_command


def test_the_arguments_name_the_table_and_the_place(
    run: Run, table: DynamoClient, moto_endpoint: str
) -> None:
    where = ("--endpoint-url", moto_endpoint, "--region", "us-east-1")
    ended = run("--table", table.table_name, *where)
    assert (ended.status, ended.err) == (0, "counting\n")
    assert ended.out == f"0 records in {table.table_name}\n"


def test_quiet_leaves_what_was_asked_for(run: Run, table: DynamoClient, moto_endpoint: str) -> None:
    ended = run("--table", table.table_name, "--endpoint-url", moto_endpoint, "--quiet")
    assert (ended.status, ended.err) == (0, "")
    assert ended.out == f"0 records in {table.table_name}\n"


@pytest.mark.parametrize(
    ("given", "variables", "found"),
    [
        ("a", {"DYNAMODB_TABLE_NAME": "b"}, "a"),
        (None, {"DYNAMODB_TABLE_NAME": " b\n", "DYNAMO_TABLE_NAME": "c"}, "b"),
        (" ", {"DYNAMODB_TABLE_NAME": " ", "DYNAMO_TABLE_NAME": "c"}, "c"),
        (None, {}, None),
    ],
)
def test_the_argument_comes_before_the_variables_and_the_new_one_before_the_old(
    given: str | None, variables: dict[str, str], found: str | None
) -> None:
    assert find_table(argparse.Namespace(table=given), variables) == found


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no table is named; give --table or set DYNAMODB_TABLE_NAME"),
        (["--table", "no-such"], "there is no table no-such in this account, region and endpoint"),
        (["--table", "t", "--endpoint-url", "nonsense"], "Invalid endpoint: nonsense"),
        (["--table", "t", "--region", "us moon"], "the region is malformed"),
    ],
)
def test_what_a_user_gets_wrong_is_a_line_and_status_2(
    run: Run, arguments: list[str], message: str, moto_endpoint: str
) -> None:
    where = [] if "--endpoint-url" in arguments else ["--endpoint-url", moto_endpoint]
    assert_is_refused(run(*where, *arguments), message)


def assert_is_refused(ended: Ended, message: str) -> None:
    assert (ended.status, ended.out) == (2, "")
    line = ended.err.removeprefix("counting\n")
    assert line.startswith("count: error: ")
    assert message in line
    assert line.count("\n") == 1


INDEX = "arn:aws:dynamodb:us-east-1:123456789012:table/t/index/GSI2"
FORBIDDEN = (
    "User: arn:aws:iam::123456789012:user/u is not authorized to perform: dynamodb:Query on "
    f"resource: {INDEX} because no identity-based policy allows the dynamodb:Query action"
)


@pytest.mark.parametrize(
    ("code", "said", "message"),
    [
        (
            "AccessDeniedException",
            FORBIDDEN,
            "access denied: these credentials may not do dynamodb:Query on " + INDEX,
        ),
        ("AccessDeniedException", "No", "may not do dynamodb:Query on table t;"),
        ("UnrecognizedClientException", "bad token", "the credentials are not accepted"),
        ("ExpiredTokenException", "expired", "the credentials are not accepted"),
        (
            "InvalidSignatureException",
            "Signature expired: 20261126T110000Z is now earlier than 20261126T111000Z",
            "set this machine's clock",
        ),
        (
            "ValidationException",
            "bad \x1b[2J\u202e words",
            "table t: ValidationException: bad \\x1b[2J\\u202e words",
        ),
        (
            "ValidationException",
            "The table does not have the specified index: GSI2",
            "table t has no index GSI2",
        ),
    ],
)
def test_what_dynamodb_refuses_is_a_line_that_says_what_to_do(
    run: Run, proxy: FaultProxy, moto_endpoint: str, code: str, said: str, message: str
) -> None:
    DynamoClient("t", "us-east-1", moto_endpoint).create_table()
    proxy.always(ErrorReply(400, code, said), operations=["Query"])
    assert_is_refused(run("--table", "t", "--endpoint-url", proxy.endpoint_url), message)


def test_throttling_is_said_as_such_and_a_name_with_braces_is_but_a_name() -> None:
    reply: Any = {"Error": {"Code": "ThrottlingException", "Message": "{slow}"}}
    explained = explain_failure(ClientError(reply, "Query"), "{t}")
    assert explained.startswith(
        "requests for table {t} are throttled (ThrottlingException: {slow})"
    )


def list_sdk_errors() -> Iterator[BotoCoreError]:
    """Yield one of each kind of error that boto3 raises by itself."""
    for kind in vars(botocore.exceptions).values():
        if isinstance(kind, type) and issubclass(kind, BotoCoreError):
            names = [name for _, name, *_ in Formatter().parse(kind.fmt) if name]
            fields: dict[str, Any] = {name.partition(".")[0]: "{a}\n\x1b[2J" for name in names}
            if kind is WaiterError:
                fields["last_response"] = {}
            yield kind(**fields)


def test_a_limit_that_no_waiting_helps_is_not_called_throttling() -> None:
    said = "There is a limit of 2500 tables per subscriber"
    reply: Any = {"Error": {"Code": "LimitExceededException", "Message": said}}
    explained = explain_failure(ClientError(reply, "CreateTable"), "t")
    assert explained == f"table t: LimitExceededException: {said}"


def test_whatever_boto3_raises_is_explained_in_a_line() -> None:
    errors = list(list_sdk_errors())
    assert len(errors) > 80
    for error in errors:
        assert is_from_boto3(error)
        explained = explain_failure(error, "{table}")
        assert make_printable(explained).isprintable()
        assert type(error).__name__ in explained or explained.startswith("no region is named")


def test_whatever_code_dynamodb_answers_is_explained_in_a_line() -> None:
    for code in [*_KIND_BY_NAME, "SomethingNewException", ""]:
        reply: Any = {"Error": {"Code": code, "Message": "{words}"}}
        assert explain_failure(ClientError(reply, "Query"), "t")


def test_an_endpoint_where_nobody_is_is_a_line_without_its_password(
    run: Run, proxy: FaultProxy
) -> None:
    proxy.down()
    url = proxy.endpoint_url.replace("http://", "http://user:s3cret@")
    ended = run("--table", "t", "--endpoint-url", url)
    assert_is_refused(ended, "DynamoDB cannot be reached")
    assert "s3cret" not in ended.err


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        (("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "boto3 finds no usable credentials"),
        (("AWS_SECRET_ACCESS_KEY",), "boto3 finds no usable credentials"),
        (("AWS_DEFAULT_REGION",), "no region is named; give --region or set AWS_REGION"),
    ],
)
def test_what_the_environment_lacks_is_named(
    run: Run,
    missing: tuple[str, ...],
    message: str,
    moto_endpoint: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in missing:
        monkeypatch.delenv(name)
    assert_is_refused(run("--table", "t", "--endpoint-url", moto_endpoint), message)


def test_an_unknown_profile_is_named(
    run: Run, moto_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    assert_is_refused(run("--table", "t", "--endpoint-url", moto_endpoint), "nobody")


def test_the_deprecated_variable_works_and_says_so(
    run: Run, table: DynamoClient, moto_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DYNAMO_TABLE_NAME", table.table_name)
    ended = run("--endpoint-url", moto_endpoint)
    assert ended.status == 0
    deprecated = "DYNAMO_TABLE_NAME is deprecated. Use DYNAMODB_TABLE_NAME instead."
    assert ended.err == f"{deprecated}\ncounting\n"
    assert run("--endpoint-url", moto_endpoint, "--quiet").err == ""


def test_a_mistake_of_ours_is_not_hidden_behind_a_line() -> None:
    parser = argparse.ArgumentParser(prog="broken")

    def fail(chosen: argparse.Namespace) -> int:
        raise ValueError("ours")

    with pytest.raises(ValueError, match="ours"):
        guard(fail, parser)(argparse.Namespace())


@pytest.mark.parametrize(
    "hostile", ["\x1b[2J", "\x07", "\r", "\n", "\u202e", "\u2066", "\u200f", "\u2028", "\x9b"]
)
def test_what_a_terminal_obeys_is_shown_in_its_place(hostile: str) -> None:
    shown = make_printable(f"a{hostile}b")
    assert shown.isprintable()
    assert shown.startswith("a\\")
