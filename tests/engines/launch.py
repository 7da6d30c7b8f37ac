"""Start a DynamoDB engine on a free loopback port, and stop it."""

from __future__ import annotations

import contextlib
import http.client
import logging
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from engines.install import MissingEngineError, find_dynamodb_local, find_ministack

ENGINE_NAMES = ("moto", "ministack", "dynamodb-local")

_KEEPER = Path(__file__).with_name("keeper.py")
_READY_TIMEOUT = 60.0
_POLL_INTERVAL = 0.05


@dataclass(frozen=True)
class Engine:
    """A running DynamoDB: which one it is, and where."""

    name: str
    endpoint_url: str


@contextlib.contextmanager
def launch(name: str, *, for_long: bool = False) -> Iterator[Engine]:
    """Run an engine.

    Args:
        name: One of ``ENGINE_NAMES``.
        for_long: Have DynamoDB Local run fast and hold much, which takes longer to start: for
            benchmarks.

    Raises:
        MissingEngineError: It is not installed.
        RuntimeError: It does not start.
    """
    launchers = {
        "moto": _launch_moto,
        "ministack": _launch_ministack,
        "dynamodb-local": partial(_launch_dynamodb_local, _FOR_LONG if for_long else _FOR_TESTS),
    }
    with launchers[name]() as port:
        yield Engine(name, f"http://127.0.0.1:{port}")


@contextlib.contextmanager
def _launch_moto() -> Iterator[int]:
    from moto.server import ThreadedMotoServer

    # Without a level of its own it writes a line to stderr for each request.
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        yield server.get_host_and_port()[1]
    finally:
        server.stop()


@contextlib.contextmanager
def _launch_ministack() -> Iterator[int]:
    python = find_ministack()
    port = _find_free_port()
    environment = {
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "SERVICES": "dynamodb,sts",
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "LOG_LEVEL": "WARNING",
    }
    with _run_server([str(python), "-m", "ministack"], port, environment):
        yield port


# A short life on few cores: what starts fast is better than what runs fast.
_FOR_TESTS: Final = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx512m")
_FOR_LONG: Final = ("-Xmx4g",)


@contextlib.contextmanager
def _launch_dynamodb_local(options: Sequence[str]) -> Iterator[int]:
    jar = find_dynamodb_local()
    port = _find_free_port()
    java = [
        "java",
        *options,
        f"-Djava.library.path={jar.with_name('DynamoDBLocal_lib')}",
        *("-jar", str(jar)),
        *("-inMemory", "-sharedDb", "-disableTelemetry", "-port", str(port)),
    ]
    with _run_server(java, port, {}):
        yield port


@contextlib.contextmanager
def _run_server(command: list[str], port: int, environment: dict[str, str]) -> Iterator[None]:
    """Run a server below a keeper, so that it ends with this process whatever happens."""
    with tempfile.TemporaryDirectory(prefix="engine-") as scratch:
        log = Path(scratch) / "output.log"
        with (
            log.open("wb") as output,
            subprocess.Popen(
                [sys.executable, str(_KEEPER), *command],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=scratch,
                env={**os.environ, "TMPDIR": scratch, **environment},
                start_new_session=True,  # Ctrl-C is for the tests, which then stop it.
            ) as keeper,  # Leaving the block closes the keeper's input and waits for its end.
        ):
            _wait_until_ready(keeper, port, log)
            yield


def _wait_until_ready(keeper: subprocess.Popen[bytes], port: int, log: Path) -> None:
    pause = threading.Event()
    for _ in range(int(_READY_TIMEOUT / _POLL_INTERVAL)):
        if _answers(port):
            return
        if keeper.poll() is not None:
            break
        pause.wait(_POLL_INTERVAL)
    tail = log.read_text(encoding="utf-8", errors="replace")[-2000:]
    raise RuntimeError(f"the engine did not start on port {port}; it wrote:\n{tail}")


def _answers(port: int) -> bool:
    """Return whether an HTTP server replies there, with whatever status."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as client:
        try:
            client.request("GET", "/")
            client.getresponse().read()
        except (OSError, http.client.HTTPException):
            return False
        return True


def _find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


__all__ = ["ENGINE_NAMES", "Engine", "MissingEngineError", "launch"]
