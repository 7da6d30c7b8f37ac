"""Disks whose syncs never end: who puts a record waits for none of them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from receipt_dynamo import DynamoClient
from support.programs import Program, hear, say

if not sys.platform.startswith("linux"):
    pytest.skip("system calls are replaced by LD_PRELOAD", allow_module_level=True)

# Each sync notes which thread it is of; one that is not the caller's takes a file "go" to end.
SYNCS = """
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int wait_for_it(void) {
    const char *folder = getenv("SYNC_FOLDER");
    char path[4096];
    int own = syscall(SYS_gettid) == getpid(), noted;
    strcat(strcpy(path, folder), own ? "/caller" : "/other");
    noted = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (noted >= 0) { write(noted, "x", 1); close(noted); }
    strcat(strcpy(path, folder), "/go");
    while (!own && unlink(path)) usleep(1000);
    return 0;
}
int fsync(int file) { return wait_for_it(); }
int fdatasync(int file) { return wait_for_it(); }
"""

# By 64 commits the log is long; put as many in each line that is heard.
PUT = """
from receipt_dynamo.data.journal import journal
journal.CHECKPOINT_COMMITS = 64
client = open_client(batch_flush_interval=3600.0, max_pending_records=100_000)
number = 0
for line in sys.stdin:
    for _ in range(int(line)):
        put(client, 1, first=number)
        number += 1
    stats = client.get_stats()
    assert stats.undurable == 0, stats
    print(number, flush=True)
os._exit(0)
"""


@pytest.fixture
def syncs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which each sync is noted; all syncs hang."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler for the library that replaces the system calls")
    source, library = tmp_path / "syncs.c", tmp_path / "syncs.so"
    source.write_text(SYNCS, encoding="ascii")
    built = [compiler, "-shared", "-fPIC", "-w", "-o", str(library), str(source)]
    subprocess.run(built, check=True, timeout=60)
    folder = tmp_path / "syncs"
    folder.mkdir()
    monkeypatch.setenv("SYNC_FOLDER", str(folder))
    monkeypatch.setenv("LD_PRELOAD", str(library))
    return folder


def test_a_sync_that_never_ends_stops_no_caller(
    make_program: Callable[..., Program], table: DynamoClient, syncs: Path
) -> None:
    """Neither a checkpoint's, nor that of a log which begins again."""
    journals = Path(os.environ["AI_USAGE_JOURNAL_DIR"])
    with make_program(PUT).start() as process:
        number = 0

        def put(records: int) -> None:
            nonlocal number
            number += records
            say(process, str(records))
            assert hear(process) == str(number)

        put(100)
        wait_for((syncs / "other").exists)
        for _ in range(50):  # Each sync of some checkpoints hangs while records come in.
            put(20)
            (syncs / "go").touch()
        for _ in range(3):
            put(100)
            wait_for(lambda: give(syncs) and not measure_logs(journals))
            put(100)  # The log begins again.
        assert not (syncs / "caller").exists()


def give(syncs: Path) -> bool:
    (syncs / "go").touch()
    return True


def measure_logs(journals: Path) -> int:
    return sum(path.stat().st_size for path in journals.glob("*.db-wal"))


def wait_for(is_so: Callable[[], bool]) -> None:
    while not is_so():
        time.sleep(0.001)
