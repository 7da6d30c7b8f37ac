"""An embedded DynamoDB in a separate process: moto's server.

In the demo's own process its work would hold up the calls that the demo measures.
Run as a module it serves until its standard input ends, which is when its parent does.
"""

from __future__ import annotations

import contextlib
import logging
import subprocess
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_MODULE: Final = "receipt_label.cli.demo.embedded_dynamodb"
_STOP_TIMEOUT: Final = 5.0


@contextlib.contextmanager
def start_dynamodb() -> Iterator[Callable[[], str]]:
    """Start an embedded DynamoDB; give a function that waits for it and returns its URL.

    The function raises RuntimeError when the process ended before it was ready.
    """
    command = [sys.executable, "-P", "-m", _MODULE]
    # Nothing in the command comes from outside.
    process = subprocess.Popen(  # noqa: S603
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )

    def wait_for_url() -> str:
        url = process.stdout.readline().strip() if process.stdout else ""
        if not url:
            raise RuntimeError("the embedded DynamoDB did not start; its error is above")
        return url

    with process:
        try:
            yield wait_for_url
        finally:
            _stop(process)


def _stop(process: subprocess.Popen[str]) -> None:
    if process.stdin:
        process.stdin.close()
    try:
        process.wait(_STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()


def serve() -> None:
    """Serve on a free loopback port, write the URL to standard output, end with the input."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # It logs every request.
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    sys.stdout.write(f"http://{host}:{port}\n")
    sys.stdout.flush()
    with contextlib.suppress(KeyboardInterrupt):
        sys.stdin.read()
    server.stop()


if __name__ == "__main__":
    serve()
