"""Files for this user only: opened, made new, and put in place when they are whole."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TextIO

import pytest

from receipt_dynamo.utils.private_files import open_private, write_new, write_whole

pytestmark = pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX's")

Write = Callable[[Path], AbstractContextManager[TextIO]]


@pytest.fixture(params=[0, 0o022, 0o277, 0o777])
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.usefixtures("umask")
@pytest.mark.parametrize("write", [write_new, write_whole])
def test_what_is_written_is_private_under_any_umask(write: Write, tmp_path: Path) -> None:
    path = tmp_path / "file"
    with write(path) as stream:
        stream.write("ä\n")
    assert (mode_of(path), path.read_text("utf-8")) == (0o600, "ä\n")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.usefixtures("umask")
@pytest.mark.parametrize("flags", [0, os.O_EXCL])
def test_what_is_opened_is_made_private_under_any_umask(flags: int, tmp_path: Path) -> None:
    os.close(open_private(tmp_path / "file", os.O_RDWR | flags))
    assert mode_of(tmp_path / "file") == 0o600


def test_a_file_that_somebody_has_shared_stays_as_it_is(tmp_path: Path) -> None:
    """As logrotate does it with "create 0640": the file is there, and empty."""
    path = tmp_path / "usage.jsonl"
    path.touch()
    path.chmod(0o640)
    os.close(open_private(path, os.O_WRONLY | os.O_APPEND))
    assert mode_of(path) == 0o640


def test_a_file_that_exists_is_not_new(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("mine")
    with pytest.raises(FileExistsError):
        open_private(path, os.O_WRONLY | os.O_EXCL)
    with pytest.raises(FileExistsError), write_new(path):
        pass
    assert path.read_text() == "mine"


@pytest.mark.parametrize("write", [write_new, write_whole])
@pytest.mark.parametrize("failure", [KeyboardInterrupt, OSError])
def test_a_failed_write_leaves_no_file(
    write: Write, failure: type[BaseException], tmp_path: Path
) -> None:
    with pytest.raises(failure), write(tmp_path / "file") as stream:
        stream.write("half")
        raise failure
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_replaced_when_it_is_whole_and_not_before(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(ValueError, match="half"), write_whole(path):
        raise ValueError("half")
    with write_whole(path) as stream:
        stream.write("new")
        stream.flush()
        assert path.read_text() == "old"
    assert path.read_text() == "new"


def test_a_directory_in_the_files_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match="accepted is a file"), write_whole(tmp_path):
        pass


@pytest.mark.parametrize("target", ["there", "nowhere"])
def test_a_link_is_neither_replaced_nor_followed(target: str, tmp_path: Path) -> None:
    """For root, /dev/stdout would be no link any more."""
    (tmp_path / "there").write_text("mine")
    link = tmp_path / "link"
    link.symlink_to(tmp_path / target)
    with pytest.raises(FileExistsError, match="is a link; accepted is a file"), write_whole(link):
        pass
    assert link.is_symlink()
    assert (tmp_path / "there").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "there"]


@pytest.mark.parametrize("name", ["pipe", "link"])
def test_a_pipe_is_written_to_and_stays_one(name: str, tmp_path: Path) -> None:
    """As a shell's ``>(gzip > page.gz)``, which is a link to one; /dev/null is much the same."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    (tmp_path / "link").symlink_to(pipe)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    with write_whole(tmp_path / name) as stream:
        stream.write("page")
    reader.join(60)
    assert read == ["page"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)
