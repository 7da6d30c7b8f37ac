"""Run an engine for as long as standard input stays open.

A test run that ends by ``os._exit`` or ``SIGKILL`` cannot stop its engines, but the system
closes its end of the pipe: then this program stops the engine.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading

_PATIENCE = 5.0


def keep(command: list[str]) -> None:
    """Run the command until standard input ends, or the command does."""
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as engine:
        threading.Thread(target=_end_with, args=(engine,), daemon=True).start()
        sys.stdin.buffer.read()
        engine.terminate()
        try:
            engine.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            engine.kill()


def _end_with(engine: subprocess.Popen[bytes]) -> None:
    os._exit(engine.wait() & 0xFF)


if __name__ == "__main__":
    keep(sys.argv[1:])
