"""Starts the demo in a separate process, with its own environment.

boto3 and the SDKs read the shell's proxies, profiles and endpoints even when everything
is given to them as arguments. In a separate process the demo can do without them and
leaves the user's environment as it is.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Final

from receipt_label.cli.demo.isolation import isolate_environment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from receipt_label.cli.demo.options import DemoOptions

# flask stands for the server part of moto.
_NEEDED: Final = ("anthropic", "flask", "moto", "openai")

INTERRUPTED: Final = 130
"""What a shell reports for a command ended by Ctrl-C."""


class MissingExtraError(Exception):
    """Packages of the extra ``demo`` are not installed; the message says what to do."""


def launch_demo(options: DemoOptions) -> int:
    """Run the demo in a child process, on this process's standard output.

    Returns:
        The child's exit status: 0 when every call has exactly one row, 1 when not, 130
        when the user interrupted it.

    Raises:
        MissingExtraError: The demo's packages are not installed.
    """
    if missing := find_missing(_NEEDED):
        raise MissingExtraError(
            f"the demo needs {', '.join(missing)}: pip install 'receipt-label[demo]'"
        )
    # -P: a folder of the user's, in which the command was given, must not be imported.
    command = [sys.executable, "-P", "-m", "receipt_label.cli.demo", *options.to_arguments()]
    try:
        # Arguments of our own making, and no shell.
        return subprocess.run(command, env=isolate_environment(os.environ), check=False).returncode  # noqa: S603
    except KeyboardInterrupt:
        return INTERRUPTED


def find_missing(names: Sequence[str]) -> list[str]:
    """Return those of the top-level packages that cannot be found, without importing any."""
    return [name for name in names if not _can_find(name)]


def _can_find(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ImportError:
        return False
