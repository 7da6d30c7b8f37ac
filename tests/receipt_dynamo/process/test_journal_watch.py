"""``journal watch`` beside workers that end as soon as they have put a record."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from receipt_dynamo import DynamoClient
from support.programs import Program, name_ids, read_ids

if sys.platform == "win32":
    pytest.skip("there are no leases of journals", allow_module_level=True)

PATIENCE = 60.0
WATCH = [sys.executable, "-m", "receipt_dynamo", "journal", "watch", "--interval", "0.1"]
EPHEMERAL = """
client = open_client(batch_flush_interval=60)
put(client, 2, first={first})
wait_for_proof(client)
os._exit(0)
"""


def is_first_process_possible() -> bool:
    """Whether a program can be the first process of a container here."""
    if shutil.which("unshare") is None:
        return False
    done = subprocess.run(
        ["unshare", "-pf", "--mount-proc", "true"], capture_output=True, check=False
    )
    return done.returncode == 0


in_container = pytest.mark.skipif(
    not is_first_process_possible(), reason="this user may not make a process namespace"
)


@pytest.mark.parametrize("prefix", [(), pytest.param(("unshare", "-pf"), marks=in_container)])
def test_it_delivers_what_processes_leave_until_sigterm(
    make_program: Callable[..., Program],
    table: DynamoClient,
    tmp_path: Path,
    prefix: tuple[str, ...],
) -> None:
    """As the first process of a container too, which a signal without a handler does not end."""
    directory = tmp_path / "journal"
    directory.mkdir(mode=0o700)
    command = [*prefix, *WATCH, "--journal-dir", str(directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watcher:
        try:
            for first in (0, 2):
                done = make_program(
                    EPHEMERAL.replace("{first}", str(first)).replace(
                        "interval=60", f"interval=60, journal_dir={str(directory)!r}"
                    )
                ).run()
                assert done.returncode == 0, done.stderr
                end = time.monotonic() + PATIENCE
                while read_ids(table) != name_ids(range(first + 2)):
                    assert time.monotonic() < end
                    time.sleep(0.05)
            os.kill(find_innermost(watcher.pid), signal.SIGTERM)
            assert watcher.wait(PATIENCE) == 0
            assert watcher.stdout is not None
            assert "2 delivered" in watcher.stdout.read()
        finally:
            watcher.kill()
    assert not list(directory.glob("*.db"))


def find_innermost(pid: int) -> int:
    """Return the last child of a child, or the process itself."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    while children.exists() and (found := children.read_text(encoding="ascii").split()):
        pid = int(found[0])
        children = Path(f"/proc/{pid}/task/{pid}/children")
    return pid


@in_container
def test_a_first_process_that_flushes_on_sigterm_ends(
    make_program: Callable[..., Program], table: DynamoClient
) -> None:
    program = make_program(
        """
        from receipt_dynamo import flush_on_sigterm

        assert os.getpid() == 1
        client = open_client(batch_flush_interval=60)
        put(client, 2)
        flush_on_sigterm(20)
        threading.Timer(0.1, os.kill, (1, signal.SIGTERM)).start()
        while True:
            signal.pause()
        """
    )
    done = subprocess.run(
        ["unshare", "-pf", "--mount-proc", *program.command],
        capture_output=True,
        cwd=Path(program.command[3]).parent,
        check=False,
        timeout=PATIENCE,
    )
    assert done.returncode == 128 + signal.SIGTERM, done.stderr
    assert read_ids(table) == name_ids(range(2))
