"""Two endpoints are compared in one form, and each of AWS's own is the same place."""

from __future__ import annotations

import pytest

from receipt_dynamo.data.endpoints import AWS, find_region_of_aws, name_place

REGIONS = {
    "us-east-1": ("amazonaws.com", "api.aws"),
    "cn-north-1": ("amazonaws.com.cn", "api.amazonwebservices.com.cn"),
    "us-gov-west-1": ("amazonaws.com", "api.aws"),
    "us-iso-east-1": ("c2s.ic.gov", "api.aws.ic.gov"),
    "us-isob-east-1": ("sc2s.sgov.gov", "api.aws.scloud"),
    "eu-isoe-west-1": ("cloud.adc-e.uk", "api.cloud-aws.adc-e.uk"),
    "us-isof-south-1": ("csp.hci.ic.gov", "api.aws.hci.ic.gov"),
    "eusc-de-east-1": ("amazonaws.eu", "api.amazonwebservices.eu"),
}


@pytest.mark.parametrize("region", REGIONS)
def test_each_of_awss_own_endpoints_is_one_place(region: str) -> None:
    suffix, dual_stack = REGIONS[region]
    for host in (
        f"dynamodb.{region}.{suffix}",
        f"dynamodb-fips.{region}.{suffix}",
        f"dynamodb.{region}.{dual_stack}",
        f"123456789012.ddb.{region}.{suffix}",
        f"vpce-0a1b-2c3d.dynamodb.{region}.vpce.{suffix}",
        f"vpce-0a1b-2c3d-{region}a.dynamodb.{region}.vpce.{suffix}",
    ):
        for url in (f"https://{host}", f"HTTPS://{host.upper()}:443/", f"http://{host}:80"):
            assert name_place(url, region) == AWS, url
            assert find_region_of_aws(url) == region
    assert name_place(None, region) == name_place("", region) == AWS


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8000",
        "https://dynamodb.us-east-1.amazonaws.com:8443",
        "https://dynamodb.us-east-1.amazonaws.com.evil.example",
        "https://dynamodb.us-east-1.evil-amazonaws.com",
        "https://dynamodb-1234.us-east-1.elb.amazonaws.com",
        "https://dynamodb.execute-api.us-east-1.amazonaws.com",
        "http://ec2-1-2-3-4.compute-1.amazonaws.com:8000",
        "https://dynamodb.us-east-1.localhost.localstack.cloud:4566",
        "https://dynamodb.eu-west-1.amazonaws.com",  # another region than the table's
        "http://[::1",
        "http://host:port",
        "localhost:8000",
    ],
)
def test_whatever_is_not_awss_own_is_a_place_of_its_own(url: str) -> None:
    assert name_place(url, "us-east-1") != AWS


@pytest.mark.parametrize(
    ("url", "same"),
    [
        ("http://Host:8000/", "http://host:8000"),
        ("HTTP://host:80", "http://host"),
        ("https://host:443/a/", "https://host/a"),
        ("http://user:secret@host", "http://host"),
        ("http://[::1]:8000/", "http://[::1]:8000"),
    ],
)
def test_an_endpoint_is_one_place_however_it_is_written(url: str, same: str) -> None:
    assert name_place(url, "us-east-1") == same == name_place(same, "us-east-1")
    assert name_place(same.replace("http", "https", 1), "us-east-1") != same
