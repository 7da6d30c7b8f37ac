"""Endpoint and region are those that a real boto3 client takes; no network is needed to know."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import boto3
import pytest

from receipt_dynamo import ResilientDynamoClient
from receipt_dynamo.data.connection import Connection, SdkSettings, Target, make_client
from receipt_dynamo.data.endpoints import find_endpoint, find_region
from receipt_dynamo.data.journal.directory import describe_target

AWS = "https://dynamodb.eu-west-1.amazonaws.com"
SERVICES = """
[services local]
dynamodb =
  endpoint_url = http://service.example:1
s3 =
  endpoint_url = http://s3.example:1

[services other]
s3 =
  endpoint_url = http://s3.example:2
"""
FILES = {
    "nothing": "",
    "another profile": "[profile other]\nendpoint_url = http://other.example:1\n",
    "endpoint": "[default]\nendpoint_url = http://default.example:1\n",
    "quoted": '[profile "other"]\nendpoint_url = http://other.example:1\n',
    "service": f"[default]\nservices = local\n{SERVICES}",
    "service and endpoint": (
        f"[default]\nendpoint_url = http://default.example:1\nservices = local\n{SERVICES}"
    ),
    "another service": f"[default]\nservices = other\n{SERVICES}",
    "ignore": (
        "[default]\nignore_configured_endpoint_urls = true\n"
        f"endpoint_url = http://default.example:1\nservices = local\n{SERVICES}"
    ),
    "ignore not": (
        "[default]\nignore_configured_endpoint_urls = no\nendpoint_url = http://default.example:1\n"
    ),
    "empty": "[default]\nendpoint_url =\n[services]\n",
}
VARIABLES: list[dict[str, str]] = [
    {},
    {"AWS_ENDPOINT_URL": "http://all.example:1"},
    {"AWS_ENDPOINT_URL": ""},
    {"AWS_ENDPOINT_URL_DYNAMODB": "http://own.example:1"},
    {"AWS_ENDPOINT_URL_DYNAMODB": "", "AWS_ENDPOINT_URL": "http://all.example:1"},
    {"AWS_ENDPOINT_URL_DYNAMODB": "http://own.example:1", "AWS_ENDPOINT_URL": "http://all.example"},
    {"AWS_ENDPOINT_URL_S3": "http://s3.example:3"},
]
IGNORES = [None, "", "true", "TRUE", "false", "1"]


@pytest.fixture
def aws_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    files = tmp_path / "config", tmp_path / "credentials"
    monkeypatch.setenv("AWS_CONFIG_FILE", str(files[0]))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(files[1]))
    return files


def set_all(monkeypatch: pytest.MonkeyPatch, variables: Mapping[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def ask_boto3() -> str:
    endpoint: str = boto3.session.Session().client("dynamodb", "eu-west-1").meta.endpoint_url
    return endpoint


@pytest.mark.parametrize("file", FILES.values(), ids=FILES)
def test_the_endpoint_is_the_one_that_boto3_takes(
    file: str, aws_files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    aws_files[0].write_text(file)
    for variables, ignore in itertools.product(VARIABLES, IGNORES):
        with monkeypatch.context() as patch:
            set_all(patch, variables)
            if ignore is not None:
                patch.setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", ignore)
            assert (find_endpoint() or AWS) == ask_boto3(), (variables, ignore)


@pytest.mark.parametrize(
    "profile",
    [
        {"AWS_PROFILE": "other"},
        {"AWS_DEFAULT_PROFILE": "other"},
        {"AWS_PROFILE": "default", "AWS_DEFAULT_PROFILE": "other"},
        {"AWS_PROFILE": "default"},
        {"AWS_PROFILE": "in-credentials"},
    ],
)
@pytest.mark.parametrize("file", [FILES["another profile"], FILES["quoted"]])
def test_the_profile_is_the_one_that_boto3_takes(
    profile: dict[str, str],
    file: str,
    aws_files: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    aws_files[0].write_text(f"{file}[default]\nendpoint_url = http://default.example:1\n")
    aws_files[1].write_text("[in-credentials]\nendpoint_url = http://credentials.example:1\n")
    set_all(monkeypatch, profile)
    assert (find_endpoint() or AWS) == ask_boto3()
    assert find_endpoint() is not None


def test_the_file_of_credentials_has_the_last_word(aws_files: tuple[Path, Path]) -> None:
    aws_files[0].write_text("[default]\nendpoint_url = http://config.example:1\n")
    aws_files[1].write_text("[default]\nendpoint_url = http://credentials.example:1\n")
    assert find_endpoint() == ask_boto3() == "http://credentials.example:1"


@pytest.mark.parametrize(
    "file",
    [
        "no section\n",
        "[default]\nservices = missing\n",
        "[default]\nservices =\n  a = b\nendpoint_url =\n  c = d\n",
        "[default]\nservices = local\n[services local]\ndynamodb = text\n",
        "\udcff",
    ],
)
def test_a_file_that_boto3_complains_of_gives_no_endpoint(
    file: str, aws_files: tuple[Path, Path]
) -> None:
    aws_files[0].write_text(file, errors="surrogateescape")
    assert find_endpoint() is None


def test_a_profile_that_is_missing_gives_no_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    """boto3 complains of it when a client is made."""
    monkeypatch.setenv("AWS_PROFILE", "missing")
    assert find_endpoint() is None
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://all.example:1")
    assert find_endpoint() == "http://all.example:1"


def test_other_variables_than_the_processs_can_be_asked(aws_files: tuple[Path, Path]) -> None:
    aws_files[0].write_text(FILES["endpoint"])
    elsewhere = {"AWS_CONFIG_FILE": "", "AWS_SHARED_CREDENTIALS_FILE": ""}
    assert find_endpoint(elsewhere) is None
    given = {**elsewhere, "AWS_ENDPOINT_URL": "http://all.example:1"}
    assert find_endpoint(given) == "http://all.example:1"
    assert find_endpoint({"AWS_CONFIG_FILE": str(aws_files[0])}) == "http://default.example:1"


ARN = "arn:aws:dynamodb:ap-south-1:123456789012:table/receipts"


@pytest.mark.parametrize(
    ("region", "variables", "table", "expected"),
    [
        ("eu-west-1", {"AWS_REGION": "us-west-2"}, ARN, "eu-west-1"),
        (None, {"AWS_REGION": "us-west-2", "AWS_DEFAULT_REGION": "us-east-2"}, ARN, "us-west-2"),
        ("", {"AWS_REGION": "", "AWS_DEFAULT_REGION": "us-east-2"}, ARN, "us-east-2"),
        (None, {}, ARN, "ca-central-1"),
        (None, {"AWS_DEFAULT_REGION": ""}, "receipts", "ca-central-1"),
        (None, {"AWS_PROFILE": "none"}, ARN, "ap-south-1"),
        (None, {"AWS_PROFILE": "none"}, "receipts", None),
        (None, {"AWS_PROFILE": "none"}, "arn:aws", None),
        (None, {"AWS_REGION": " ", "AWS_DEFAULT_REGION": "eu-west-3\n"}, ARN, "eu-west-3"),
        (None, {"AWS_PROFILE": "none", "AWS_DEFAULT_REGION": "\t"}, "receipts", None),
        (None, {"AWS_PROFILE": "none"}, "arn:aws:dynamodb::1:table/x", None),
    ],
)
def test_the_region_is_found_in_a_documented_order(
    region: str | None,
    variables: dict[str, str],
    table: str,
    expected: str | None,
    aws_files: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    aws_files[0].write_text("[default]\nregion = ca-central-1\n[profile none]\n")
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    set_all(monkeypatch, variables)
    assert find_region(table, region) == expected
    if expected is not None:
        client = make_client(Target(table, region), SdkSettings())
        assert client.meta.region_name == expected
        sts = Connection(Target(table, region), SdkSettings()).make_token_client()
        assert sts.meta.region_name == expected


@pytest.mark.parametrize(
    "region", ["eu west 1", "eu_west_1", "-eu-west-1", "123", "eu-west-1/", "é", "e" * 64]
)
def test_a_region_that_is_none_is_an_error_at_construction(
    region: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No request could be sent; the records would wait for ever."""
    with pytest.raises(ValueError, match=r"the AWS region is '.*'; accepted are"):
        ResilientDynamoClient("receipts", region)
    monkeypatch.setenv("AWS_REGION", region)
    with pytest.raises(ValueError, match=r"the AWS region is '.*'; accepted are"):
        ResilientDynamoClient("receipts")


def test_a_region_of_a_wrong_type_is_an_error() -> None:
    with pytest.raises(TypeError, match="region is of type int; accepted are str and None"):
        ResilientDynamoClient("receipts", cast("str", 1))


@pytest.mark.parametrize(
    ("variables", "file", "noted"),
    [
        (
            {"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true", "AWS_ENDPOINT_URL": "http://a.example"},
            "",
            "",
        ),
        ({"AWS_ENDPOINT_URL": "http://a.example"}, FILES["ignore"], ""),
        ({}, FILES["service and endpoint"], "http://service.example:1"),
        ({"AWS_ENDPOINT_URL_DYNAMODB": "http://own.example"}, "", "http://own.example"),
    ],
)
def test_a_journal_notes_the_endpoint_that_is_used(
    variables: dict[str, str],
    file: str,
    noted: str,
    aws_files: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One that nobody used would be where ``journal drain`` delivers to."""
    aws_files[0].write_text(file)
    set_all(monkeypatch, variables)
    target = Target("receipts", "eu-west-1")
    assert describe_target(target).endpoint_url == noted
    assert make_client(target, SdkSettings()).meta.endpoint_url == (noted or AWS)


def test_an_empty_endpoint_counts_as_not_given() -> None:
    target = Target("receipts", "eu-west-1", "")
    assert describe_target(target).endpoint_url == ""
    assert make_client(target, SdkSettings()).meta.endpoint_url == AWS


def test_a_journal_notes_the_region_of_the_profile(
    aws_files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    aws_files[0].write_text("[default]\nregion = ca-central-1\n")
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    assert describe_target(Target("receipts")).region == "ca-central-1"


def test_without_a_home_there_is_no_profile_and_nothing_is_raised(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    for variable in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.delenv(variable, raising=False)
    assert describe_target(Target("receipts", "eu-west-1")).endpoint_url == ""
