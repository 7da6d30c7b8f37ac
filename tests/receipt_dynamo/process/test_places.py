"""Homes, users, mounts and names as they come: no client fails for them, and no record is lost."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from receipt_dynamo.data.journal.directory import JournalDirectory, open_directory
from receipt_dynamo.data.journal.places import find_directory

if sys.platform == "win32":
    pytest.skip("users, modes and mounts are POSIX's", allow_module_level=True)

USER = 12345  # of no entry in /etc/passwd, as OpenShift has it
OWN = f"receipt_dynamo-{USER}"

# DynamoDB is down, and the process is gone a moment after its records were accepted.
PUT_AND_GO = """
import json, logging, os, sys
from datetime import UTC, datetime
logging.basicConfig(format="%(message)s")
from receipt_dynamo import AIUsageMetric, ResilientDynamoClient

def put(client, *names):
    for name in names:
        now = datetime.now(UTC)
        metric = AIUsageMetric("openai", "gpt-4o", "completion", now, request_id=name)
        assert client.put_ai_usage_metric(metric)

client = ResilientDynamoClient("test-table", "us-east-1", endpoint_url="http://127.0.0.1:9")
put(client, "first")
{then}
put(client, "second", "third")
stats = client.get_stats()
assert (stats.accepted, stats.pending) == (3, 3), stats
directory = client._delivery._store._directory.path
print(json.dumps([stats.durability, stats.undurable, os.fspath(directory)]), flush=True)
os._exit(0)
"""


@dataclass(frozen=True)
class Went:
    """How it went: where the records are, and what was said."""

    durability: str
    undurable: int
    directory: Path
    said: list[str]

    def count_rows(self) -> int:
        rows = 0
        for path in JournalDirectory(self.directory).list():
            with closing(sqlite3.connect(path)) as connection:
                rows += connection.execute("SELECT COUNT(*) FROM records").fetchone()[0]
        return rows

    def check_journaled(self, directory: Path) -> None:
        assert (self.durability, self.undurable) == ("journal", 0), self
        assert self.directory == directory
        assert self.count_rows() == 3

    def check_in_memory(self, why: str) -> None:
        assert (self.durability, self.undurable) == ("memory", 3), self
        assert len([line for line in self.said if why in line]) == 1, self.said


def put_and_go(
    *before: str, then: str = "", cwd: Path | None = None, **variables: str | None
) -> Went:
    """Run it behind the command ``before``; a variable that is None is not set."""
    given = {**os.environ, "AI_USAGE_JOURNAL_DIR": None, "XDG_STATE_HOME": None, **variables}
    for name in ("TMPDIR", "TEMP", "TMP"):
        given.setdefault(name, None)
    done = subprocess.run(
        [*before, sys.executable, "-B", "-c", PUT_AND_GO.format(then=then)],
        env={name: value for name, value in given.items() if value is not None},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    durability, undurable, directory = json.loads(done.stdout)
    return Went(durability, undurable, Path(directory), done.stderr.splitlines())


@pytest.fixture
def as_user() -> list[str]:
    """What to run a command with, as a user who may only read what is others'."""
    may = "+dac_read_search"  # The interpreter may lie in root's home.
    command = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
    command += [f"--inh-caps={may}", f"--ambient-caps={may}"]
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("only root can run something as another user, by setpriv")
    if subprocess.call([*command, sys.executable, "-c", ""]):
        pytest.skip("this root may not give a capability to another user")
    return command


@pytest.fixture
def mounting() -> list[str]:
    """What to run a shell's script with, in a mount namespace of its own."""
    command = ["unshare", "--mount", "sh", "-ec"]
    can_mount = shutil.which("unshare") and not subprocess.call(
        [*command, "mount -t tmpfs -o size=64k none /var/tmp"]
    )
    if not can_mount:
        pytest.skip("no right to mount")
    return command


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """A directory that is root's, and USER's by its group, as Kubernetes mounts volumes."""
    path = tmp_path / "volume"
    path.mkdir()
    if os.geteuid() == 0:
        os.chown(path, 0, USER)
    return path


@pytest.mark.parametrize("home", [None, "/nonexistent", ""])
@pytest.mark.parametrize("chosen", [None, "~/journal", "~nobody-of-this-name/journal"])
def test_without_a_home_the_journal_is_in_a_folder_of_the_users_for_temporary_files(
    as_user: list[str], volume: Path, home: str | None, chosen: str | None
) -> None:
    if chosen and chosen.startswith("~/") and home is not None:
        pytest.skip("that is a path, which cannot be made")
    volume.chmod(0o2775)
    went = put_and_go(*as_user, HOME=home, AI_USAGE_JOURNAL_DIR=chosen, TMPDIR=str(volume))
    went.check_journaled(volume / OWN / "journal")
    assert len([line for line in went.said if "cannot be resolved" in line]) == (chosen is not None)


def test_a_home_of_somebody_else_is_passed_over(as_user: list[str], tmp_path: Path) -> None:
    """A server that dropped its privileges still has root's HOME."""
    (tmp_path / "temporary").mkdir()
    (tmp_path / "temporary").chmod(0o1777)
    home, temporary = tmp_path / "home", tmp_path / "temporary"
    (home / ".aws").mkdir(parents=True, mode=0o700)
    went = put_and_go(*as_user, HOME=str(home), TMPDIR=str(temporary))
    went.check_journaled(temporary / OWN / "journal")
    went = put_and_go(
        *as_user, HOME=None, XDG_STATE_HOME=str(home / "state"), TMPDIR=str(temporary)
    )
    assert (went.durability, went.directory) == ("journal", temporary / OWN / "journal")


@pytest.mark.parametrize("mode", [0o2775, 0o2770, 0o777, 0o1777])
def test_in_a_mount_point_that_is_roots_there_is_a_private_folder_of_this_user(
    as_user: list[str], volume: Path, mode: int
) -> None:
    volume.chmod(mode)
    put_and_go(*as_user, AI_USAGE_JOURNAL_DIR=str(volume)).check_journaled(volume / OWN)
    assert (volume / OWN).stat().st_mode & 0o777 == 0o700
    put_and_go(*as_user, AI_USAGE_JOURNAL_DIR=str(volume / "in-it")).check_journaled(
        volume / "in-it"
    )


def test_in_ones_own_directory_that_everybody_may_write_to_there_is_a_private_folder(
    tmp_path: Path,
) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    own = shared / f"receipt_dynamo-{os.geteuid()}"
    put_and_go(AI_USAGE_JOURNAL_DIR=str(shared)).check_journaled(own)


@pytest.mark.parametrize("mode", [0o755, 0o700, 0o000])
def test_a_volume_that_only_root_may_write_to_leaves_memory_and_is_counted(
    as_user: list[str], volume: Path, mode: int
) -> None:
    volume.chmod(mode)
    went = put_and_go(*as_user, AI_USAGE_JOURNAL_DIR=str(volume))
    went.check_in_memory("cannot make the journal: PermissionError")
    went = put_and_go(*as_user, AI_USAGE_JOURNAL_DIR=str(volume / "in-it"))
    went.check_in_memory("cannot make the journal: PermissionError")


def test_a_parent_that_cannot_be_searched_leaves_memory_and_is_counted(tmp_path: Path) -> None:
    parent = tmp_path / "closed"
    (parent / "journal").mkdir(parents=True)
    parent.chmod(0o000)
    before: list[str] = []
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("root may go everywhere, and there is no setpriv to take that from it")
        before = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]
    went = put_and_go(*before, AI_USAGE_JOURNAL_DIR=str(parent / "journal"), HOME=str(parent))
    went.check_in_memory("cannot make the journal: PermissionError")


READ_ONLY = 'mount --bind "$0" "$0"; mount -o remount,ro,bind "$0"; exec "$@"'


def test_on_a_read_only_bind_mount_the_journal_of_others_stays_and_ones_own_is_memory(
    mounting: list[str], tmp_path: Path
) -> None:
    journals = tmp_path / "journals"
    put_and_go(AI_USAGE_JOURNAL_DIR=str(journals)).check_journaled(journals)
    went = put_and_go(*mounting, READ_ONLY, str(journals), AI_USAGE_JOURNAL_DIR=str(journals))
    went.check_in_memory("Read-only file system")
    assert went.count_rows() == 3


def test_where_all_is_read_only_records_are_in_memory_and_counted(
    mounting: list[str], as_user: list[str], tmp_path: Path
) -> None:
    script = (
        "mount -t tmpfs -o ro none /var/tmp; mount -o remount,ro,bind /tmp 2>/dev/null || "
        '{ mount --bind /tmp /tmp; mount -o remount,ro,bind /tmp; }; cd "$0"; exec "$@"'
    )
    went = put_and_go(*mounting, script, "/", *as_user, HOME=None)
    went.check_in_memory("cannot make the journal: ")


def test_a_full_disk_for_temporary_files_is_memory_and_not_the_working_directory(
    mounting: list[str], as_user: list[str], tmp_path: Path
) -> None:
    full, work = tmp_path / "full", tmp_path / "work"
    full.mkdir()
    work.mkdir()
    work.chmod(0o777)
    script = (
        'mount -t tmpfs -o size=64k,mode=1777 none "$0"; '
        'dd if=/dev/zero of="$0/x" bs=4k 2>/dev/null || true; exec "$@"'
    )
    went = put_and_go(*mounting, script, str(full), *as_user, cwd=work, HOME=None, TMPDIR=str(full))
    went.check_in_memory("cannot make the journal: ")
    assert list(work.iterdir()) == []


def test_a_relative_directory_is_that_of_the_moment_in_which_the_client_is_made(
    tmp_path: Path,
) -> None:
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    # The second journal is begun after the move.
    then = f"os.chdir({str(tmp_path / 'second')!r}); client._delivery._store._own = None"
    went = put_and_go(then=then, cwd=tmp_path / "first", AI_USAGE_JOURNAL_DIR="journal")
    went.check_journaled(tmp_path / "first" / "journal")
    assert list((tmp_path / "second").iterdir()) == []


@pytest.mark.skipif(
    sys.version_info >= (3, 13), reason="Python itself imports no extension module there"
)
def test_a_working_directory_that_is_gone_is_no_place(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    script = 'cd "$0"; rmdir "$0"; exec "$@"'
    went = put_and_go(
        *("sh", "-ec", script, str(gone)),
        AI_USAGE_JOURNAL_DIR="journal",
        XDG_STATE_HOME=str(tmp_path),
    )
    went.check_journaled(tmp_path / "receipt_dynamo" / "journal")
    assert len([line for line in went.said if "'journal' cannot be resolved" in line]) == 1


@pytest.mark.parametrize("name", ["caf\udce9", "%41 #?&", "é", "x" * 200])
def test_any_name_of_a_folder_will_do(tmp_path: Path, name: str) -> None:
    directory = tmp_path / name
    put_and_go(AI_USAGE_JOURNAL_DIR=str(directory)).check_journaled(directory)


@pytest.mark.parametrize("name", ["x" * 300, "/".join(["y" * 200] * 4), "/".join(["z" * 200] * 30)])
def test_a_path_that_is_too_long_leaves_memory_and_is_counted(tmp_path: Path, name: str) -> None:
    put_and_go(AI_USAGE_JOURNAL_DIR=str(tmp_path / name)).check_in_memory("cannot make the journal")


def test_a_file_or_a_circle_of_links_in_the_way_leaves_memory_and_is_counted(
    tmp_path: Path,
) -> None:
    file, circle = tmp_path / "file", tmp_path / "circle"
    file.write_text("mine")
    circle.symlink_to(circle)
    for path in (file, file / "in-it", circle, circle / "in-it"):
        went = put_and_go(AI_USAGE_JOURNAL_DIR=str(path))
        went.check_in_memory("cannot make the journal")
    assert file.read_text() == "mine"


@given(st.text(st.characters() | st.sampled_from("~/.\0\ud800\udcff"), min_size=1))
@example("\0")
@example("~\ud800/x")
@example("\ud800")
@example("~root/\0")
def test_no_name_whatever_raises(name: str) -> None:
    directory = open_directory(name)
    assert directory.path.is_absolute()
    assert directory.path == find_directory(name)
    assert isinstance(directory.list(), list)
