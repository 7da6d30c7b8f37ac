"""The environment that the demo runs in: nothing of the user's shell takes part."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

# What would send the demo's requests through a proxy, as somebody, or to another place.
# boto3 and the SDKs read these even when everything is given to them as arguments.
_PREFIXES: Final = (
    "AI_USAGE_",
    "ANTHROPIC_",
    "AWS_",
    "BOTO_",
    "BOTOCORE_",
    "DYNAMODB_",
    "DYNAMO_",
    "MOTO_",
    "OPENAI_",
    "OTEL_",
    "TRACK_",
)
_NAMES: Final = (
    "ALL_PROXY",
    "FTP_PROXY",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "SSLKEYLOGFILE",
    "TEST_SERVER_MODE",
    "USER_ID",
)

_OWN: Final = {
    # Not "production": the rows say where they come from.
    "ENVIRONMENT": "development",
    "NO_PROXY": "*",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}


def isolate_environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Return ``variables`` without what could reach beyond this machine, and with our own.

    The user's own environment stays as it is: the result is for a child process.
    """
    kept = {name: value for name, value in variables.items() if not _is_foreign(name.upper())}
    return kept | _OWN


def _is_foreign(name: str) -> bool:
    return name in _NAMES or name.startswith(_PREFIXES)
