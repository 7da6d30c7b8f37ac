"""Check this machine: Python, the packages and the price data in them."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator
from importlib import metadata
from typing import Final

from receipt_dynamo.cli.findings import Finding, Level
from receipt_dynamo.cli.output import count_of
from receipt_label.cli.doctor.checks import CheckContext, CheckResult
from receipt_label.tracking.stats import utc_now

OURS: Final = ("receipt-dynamo", "receipt-label")
LOOKED_AT: Final = ("boto3", "botocore", "openai", "anthropic", "genai-prices")

STALE_AFTER_DAYS: Final = 90
"""Providers change prices and bring models several times in such a time."""

_FLOOR: Final = re.compile(r"(?P<name>[\w-]+)[^>=;]*>=(?P<floor>[\d.]+)")


def check_python(_: CheckContext) -> CheckResult:
    """Return which Python this is, and whether it is one that we test."""
    version = platform.python_version()
    prefix = "Programming Language :: Python :: "
    classifiers = metadata.metadata(OURS[1]).get_all("Classifier") or []
    tested = [each.removeprefix(prefix) for each in classifiers if each.startswith(f"{prefix}3.")]
    document = {"python": version}
    if not tested or ".".join(version.split(".")[:2]) in tested:
        return CheckResult((Finding(Level.OK, f"Python {version}"),), document)
    said = f"Python {version} is not tested with this release; tested are {', '.join(tested)}"
    return CheckResult((Finding(Level.WARNING, said),), document)


def check_packages(_: CheckContext) -> CheckResult:
    """Compare the versions of SDKs and price data with the lowest that our packages name."""
    floors = dict(_read_floors())
    found = {name: _find_version(name) for name in LOOKED_AT}
    findings = [_judge_package(name, version, floors.get(name)) for name, version in found.items()]
    versions = {**{ours: _find_version(ours) for ours in OURS}, **found}
    return CheckResult(tuple(findings), {"packages": versions})


def _read_floors() -> Iterator[tuple[str, str]]:
    """Yield the lowest versions by our own packages' metadata; there is no second list."""
    for ours in OURS:
        for requirement in metadata.requires(ours) or ():
            if (named := _FLOOR.match(requirement)) is not None:
                yield named["name"], named["floor"]


def _find_version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _judge_package(name: str, version: str | None, floor: str | None) -> Finding:
    if version is None:
        return Finding(Level.OK, f"{name} is not installed", "it is needed only for what uses it")
    if floor is not None and _read_release(version) < _read_release(floor):
        advice = f"at least {floor}: pip install '{name}>={floor}'"
        return Finding(Level.ERROR, f"{name} {version} is too old", advice)
    return Finding(Level.OK, f"{name} {version}")


def _read_release(version: str) -> tuple[int, ...]:
    """Return the numbers that a version begins with."""
    numbers = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(number) for number in numbers[0].split(".")) if numbers else ()


def check_price_data(_: CheckContext) -> CheckResult:
    """Return the age of the price data, by the newest price in it: it has no date itself."""
    from receipt_label.pricing.genai_source import find_newest_day

    today = utc_now().date()
    newest = find_newest_day(today)
    document = {"price_data": newest.isoformat() if newest else None}
    if newest is None:
        return CheckResult((Finding(Level.OK, "price data: without a date"),), document)
    age = (today - newest).days
    said = f"price data: the newest price is of {newest}, {count_of(age, 'day')} ago"
    if age <= STALE_AFTER_DAYS:
        return CheckResult((Finding(Level.OK, said),), document)
    return CheckResult((Finding(Level.WARNING, said, "pip install -U genai-prices"),), document)
