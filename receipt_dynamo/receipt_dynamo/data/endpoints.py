"""Where boto3 goes for DynamoDB: endpoint and region, found as it finds them, before it is asked.

Source: "Configuration settings and precedence" and "Service-specific endpoints" in the AWS SDKs
and Tools Reference Guide, and botocore's ``ConfiguredEndpointProvider``. Nothing here touches the
network.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

AWS: Final = "AWS"
"""What :func:`name_place` calls each of AWS's own endpoints for DynamoDB."""

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_IGNORE_VARIABLE: Final = "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"
_REGION_VARIABLES: Final = ("AWS_REGION", "AWS_DEFAULT_REGION")
# The position of the region in arn:aws:dynamodb:eu-west-1:123456789012:table/name.
_REGION_IN_ARN: Final = 3
# A label of a host's name, for it becomes one. Source: botocore's ``validate_region_name``.
_REGION: Final = re.compile(r"(?![0-9]+$)(?!-)[A-Za-z0-9-]{1,63}(?<!-)")


def find_endpoint(variables: Mapping[str, str] | None = None) -> str | None:
    """Return the endpoint that boto3 takes where none is given to it; None is AWS itself.

    The first of these that is not empty: ``AWS_ENDPOINT_URL_DYNAMODB``, ``AWS_ENDPOINT_URL``, the
    ``dynamodb`` part of the profile's ``services`` section, the profile's ``endpoint_url``. None of
    them counts when ``AWS_IGNORE_CONFIGURED_ENDPOINT_URLS`` is true, or the profile's
    ``ignore_configured_endpoint_urls``.

    Args:
        variables: Environment variables; by default those of the process. They name the
            profile and the files to look into.
    """
    given = os.environ if variables is None else variables
    profile = read_profile(given)
    ignored = given.get(_IGNORE_VARIABLE, profile.get("ignore_configured_endpoint_urls"))
    if ignored.lower() == "true":
        return None
    return (
        given.get("AWS_ENDPOINT_URL_DYNAMODB")
        or given.get("AWS_ENDPOINT_URL")
        or profile.get_of_service("endpoint_url")
        or profile.get("endpoint_url")
        or None
    )


def find_region(
    table_name: str, region: str | None = None, variables: Mapping[str, str] | None = None
) -> str | None:
    """Return the region of a table; None when it is nowhere to be found.

    The first of these that is not empty: the one given, ``AWS_REGION``, ``AWS_DEFAULT_REGION``,
    the profile's ``region``, the one in the table's ARN. White space around it does not count.

    Args:
        table_name: Name or ARN of the table.
        region: The caller's choice.
        variables: As of :func:`find_endpoint`.
    """
    given = os.environ if variables is None else variables
    named = (region or "", *(given.get(variable, "") for variable in _REGION_VARIABLES))
    chosen = next(filter(None, map(str.strip, named)), None)
    return chosen or read_profile(given).get("region").strip() or _read_region(table_name) or None


def require_region(table_name: str, region: str | None = None) -> str:
    """Return the region of a table, as :func:`find_region` finds it in the process's variables.

    Raises:
        TypeError: ``region`` is neither a str nor None.
        ValueError: It is nowhere to be found, or is none: no request could ever be sent.
    """
    if not isinstance(region, str | None):
        raise TypeError(f"region is of type {type(region).__name__}; accepted are str and None")
    found = find_region(table_name, region)
    if found is None:
        raise ValueError(
            "the AWS region is nowhere to be found: set AWS_REGION (or AWS_DEFAULT_REGION, or "
            "the region of the AWS profile), give the argument region, or the table by its ARN"
        )
    if not _REGION.fullmatch(found):
        raise ValueError(
            f"the AWS region is {found!r}; accepted are up to 63 letters, digits and hyphens, "
            "such as 'eu-west-1'"
        )
    return found


def is_region(region: str) -> bool:
    """Whether botocore knows the region; one that is newer than botocore it does not."""
    return region in _list_regions()


def suggest_region(region: str) -> str:
    """Return " (did you mean ...?)" of the known region that looks most like it, or nothing."""
    close = difflib.get_close_matches(region, _list_regions())
    # Of those that look alike, rather the one with the same letters: us-esat-1 is us-east-1.
    close.sort(key=lambda known: sorted(known) != sorted(region))
    return f" (did you mean {close[0]}?)" if close else ""


@cache
def _list_regions() -> tuple[str, ...]:
    # Imported late, as boto3: only what went wrong needs it.
    import boto3

    session = boto3.session.Session()
    return tuple(
        region
        for partition in session.get_available_partitions()
        for region in session.get_available_regions("dynamodb", partition)
    )


def name_place(endpoint_url: str | None, region: str | None) -> str:
    """Return an endpoint in the one form in which two can be compared.

    ``"AWS"`` for each endpoint that AWS itself has for DynamoDB in the region: none given, the
    public ones, FIPS, dual-stack, of an account, of a VPC. Else the URL with scheme and host in
    lower case, without a default port, a slash at its end, a user and a password.

    Args:
        endpoint_url: As configured; None or empty is AWS itself.
        region: Of the table.
    """
    if not endpoint_url or (region and find_region_of_aws(endpoint_url) == region.lower()):
        return AWS
    try:
        parts = urlsplit(endpoint_url)
        port, host = parts.port, parts.hostname or ""
    except ValueError:  # Malformed: nothing is ever delivered there.
        return endpoint_url
    if ":" in host:
        host = f"[{host}]"
    shown = "" if port in (None, _DEFAULT_PORTS.get(parts.scheme)) else f":{port}"
    return f"{parts.scheme}://{host}{shown}{parts.path.rstrip('/')}"


def find_region_of_aws(endpoint_url: str) -> str | None:
    """Return the region of an endpoint that is AWS's own for DynamoDB; None of another one.

    A host that AWS lends to its customers, such as a load balancer's, is none.
    """
    try:
        parts = urlsplit(endpoint_url)
        is_default = parts.port in (None, _DEFAULT_PORTS.get(parts.scheme))
    except ValueError:
        return None
    if not is_default or not (host := (parts.hostname or "").rstrip(".")):
        return None
    found = _match_host(host)
    return None if found is None else found["region"]


def _match_host(host: str) -> re.Match[str] | None:
    # Looked at first: a test's engine on loopback needs none of botocore's data.
    if not re.search(r"(?:^|\.)(?:dynamodb|ddb)(?:-fips)?\.", host):
        return None
    return _form_of_hosts().fullmatch(host)


_NEWER_SUFFIXES: Final = {
    "amazonaws.eu",
    "api.amazonwebservices.eu",
    "api.aws.hci.ic.gov",
    "api.aws.ic.gov",
    "api.aws.scloud",
    "api.cloud-aws.adc-e.uk",
    "csp.hci.ic.gov",
}
"""Of partitions that botocore's data had no names for in 1.34; source: those of 1.44."""


@cache
def _form_of_hosts() -> re.Pattern[str]:
    """Return the form of the hosts of DynamoDB in every partition that we or botocore know.

    Source: "Amazon DynamoDB endpoints and quotas" in the AWS General Reference, "Account-based
    endpoints" and "AWS PrivateLink for DynamoDB" in the DynamoDB Developer Guide.
    """
    # Imported late, as boto3.
    from botocore.loaders import create_loader

    known = {
        outputs[name]
        for partition in create_loader().load_data("partitions")["partitions"]
        for outputs in (partition["outputs"],)
        for name in ("dnsSuffix", "dualStackDnsSuffix")
        if name in outputs
    }
    suffixes = "|".join(map(re.escape, sorted(known | _NEWER_SUFFIXES)))
    return re.compile(
        r"(?:\d{12}\.ddb|(?:vpce-[a-z0-9-]+\.)?dynamodb)(?:-fips)?"
        rf"\.(?P<region>[a-z0-9-]+)\.(?:vpce\.)?(?:{suffixes})"
    )


def _read_region(table_name: str) -> str:
    parts = table_name.split(":")
    return parts[_REGION_IN_ARN] if parts[0] == "arn" and len(parts) > _REGION_IN_ARN else ""


@dataclass(frozen=True, slots=True)
class Profile:
    """What AWS's own files say for one profile; empty where there is no such file or profile.

    Attributes:
        name: Of the profile.
        settings: Those of both files.
        services: The services sections, by name.
    """

    name: str = "default"
    settings: Mapping[str, Any] = field(default_factory=dict)
    services: Mapping[str, Any] = field(default_factory=dict)

    def get(self, name: str) -> str:
        """Return a setting, or an empty text."""
        return _get_text(self.settings, name)

    def get_of_service(self, name: str) -> str:
        """Return a setting of DynamoDB's in the services section that the profile names."""
        services = self.services.get(self.get("services"))
        own = services.get("dynamodb") if isinstance(services, dict) else None
        return _get_text(own, name) if isinstance(own, dict) else ""


def _get_text(settings: Mapping[str, Any], name: str) -> str:
    found = settings.get(name)
    return found if isinstance(found, str) else ""


def read_profile(given: Mapping[str, str]) -> Profile:
    """Return what AWS's files say for the profile that the variables choose."""
    config_file = _find_file(given, "AWS_CONFIG_FILE", "~/.aws/config")
    credentials_file = _find_file(given, "AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials")
    # boto3 looks for them in this order.
    name = given.get("AWS_DEFAULT_PROFILE", given.get("AWS_PROFILE", "default"))
    config = _load(config_file, by_profile=True)
    # In boto3 too, the file of credentials has the last word.
    settings = config.get("profiles", {}).get(name, {}) | _load(credentials_file).get(name, {})
    return Profile(name, settings, config.get("services", {}))


def _find_file(given: Mapping[str, str], variable: str, default: str) -> Path:
    named = os.path.expandvars(given.get(variable, default))
    return Path(os.path.expanduser(named))  # noqa: PTH111 - Path's raises without a home


def _load(path: Path, *, by_profile: bool = False) -> dict[str, Any]:
    """Return what is in one of AWS's files; nothing if it cannot be read: boto3 will complain."""
    if not os.path.isfile(path):  # noqa: PTH113 - Path's raises where a folder is closed
        return {}
    # Imported late: most services have no such files.
    from botocore import configloader
    from botocore.exceptions import ConfigNotFound, ConfigParseError

    load = configloader.load_config if by_profile else configloader.raw_config_parse
    try:
        found: dict[str, Any] = load(str(path))
    except (ConfigNotFound, ConfigParseError, OSError):
        return {}
    return found
