"""Random damage to a killed process's files: no exception, no hang, nothing false delivered."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from damaged_journals import DEAD, PENDING, KilledJournal, kill_a_process, make_metric
from receipt_dynamo import DynamoClient, ResilientDynamoClient
from receipt_dynamo.commands.survey import survey
from receipt_dynamo.data.delivery_stats import DeliveryStats
from receipt_dynamo.data.journal_directory import SET_ASIDE, JournalDirectory
from receipt_dynamo.data.journal_file import list_files

if os.name == "nt":
    pytest.skip("the journal of a killed process is adopted under flock", allow_module_level=True)

ORIGINALS = {number: make_metric(number) for number in (*PENDING, *DEAD)}
LOG, INDEX = 1, 2


class Damage(NamedTuple):
    """Something that befalls one of the three files.

    Attributes:
        file: Database, write-ahead log or index.
        place: In the file, as a share of its length.
        bytes: What is written there; the file is cut there when there are none.
        is_flip: Whether the bytes are bits to change, rather than new content.
    """

    file: int
    place: float
    bytes: bytes
    is_flip: bool

    def befall(self, path: Path) -> None:
        content = bytearray(path.read_bytes())
        start = int(len(content) * self.place)
        if not self.bytes:
            path.write_bytes(content[:start])
            return
        for offset, byte in enumerate(self.bytes[: len(content) - start], start):
            content[offset] = content[offset] ^ byte if self.is_flip else byte
        path.write_bytes(content)


places = st.floats(0, 1, exclude_max=True)
single_bits = st.sampled_from([bytes([1 << bit]) for bit in range(8)])
damages = st.lists(
    st.builds(Damage, st.sampled_from((0, 0, 1, 1, 2)), places, single_bits, st.just(True))
    | st.builds(Damage, st.integers(0, 2), places, st.binary(max_size=200), st.booleans()),
    min_size=1,
    max_size=3,
)


class Place(NamedTuple):
    """Where the journal is adopted, again and again."""

    table: DynamoClient
    killed: KilledJournal


@pytest.fixture(scope="module")
def place(moto_endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Place:
    table = DynamoClient(
        "test-table-of-fuzzed-journals",
        "us-east-1",
        moto_endpoint,
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
    )
    table.create_table()
    return Place(table, kill_a_process(tmp_path_factory.mktemp("killed"), table))


@contextmanager
def damaged_journal(place: Place, damage: list[Damage]) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as scratch:
        path = place.killed.copy_to(Path(scratch) / "journal")
        for each in damage:
            each.befall(list_files(path)[each.file])
        yield path


def adopt(place: Place, directory: Path) -> DeliveryStats:
    client = ResilientDynamoClient(
        place.table.table_name,
        "us-east-1",
        endpoint_url=place.table.target.endpoint_url,
        journal_dir=directory,
    )
    try:
        assert client.flush(30)
    finally:
        client.close(0)
    return client.get_stats()


def take_rows(table: DynamoClient) -> set[int]:
    """Empty the table; return which records were in it, each as it was accepted."""
    client = table._connection.client()
    found = client.scan(TableName=table.table_name)["Items"]
    for start in range(0, len(found), 25):
        keys = [{"PK": item["PK"], "SK": item["SK"]} for item in found[start : start + 25]]
        requests = [{"DeleteRequest": {"Key": key}} for key in keys]
        client.batch_write_item(RequestItems={table.table_name: requests})
    rows = {int(item["requestId"]["S"].removeprefix("id-")): item for item in found}
    for number, item in rows.items():
        assert item == ORIGINALS[number].to_dynamodb_item()
    return set(rows)


def read_with_sqlite(path: Path) -> dict[int, bool] | None:
    """Return what SQLite alone reads: by number, whether the row is pending and as accepted.

    None when it calls the file damaged.
    """
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / path.name
        for source, target in zip(list_files(path)[:INDEX], list_files(copy)[:INDEX], strict=True):
            shutil.copy(source, target)
        try:
            with closing(sqlite3.connect(copy)) as connection:
                connection.text_factory = bytes
                if connection.execute("PRAGMA quick_check").fetchall() != [(b"ok",)]:
                    return None
                rows = connection.execute("SELECT seq, item, reason, mark FROM records").fetchall()
        except (sqlite3.DatabaseError, UnicodeDecodeError):
            return None
    return {
        seq: reason is None and seq in ORIGINALS and item == ORIGINALS[seq].to_dynamodb_json()
        for seq, item, reason, _ in rows
    }


def read_content(path: Path) -> list[bytes]:
    files = list_files(path)[:INDEX]
    return [each.read_bytes() if each.exists() else b"" for each in files]


@given(damage=damages)
@pytest.mark.timeout(1_800)
@settings(max_examples=settings.default.max_examples // 6)
def test_whatever_befalls_the_files_of_a_killed_process(place: Place, damage: list[Damage]) -> None:
    with damaged_journal(place, damage) as path:
        before = read_content(path)
        survey(JournalDirectory(path.parent))
        assert read_content(path) == before
        expected = read_with_sqlite(path)
        stats = adopt(place, path.parent)
        delivered = take_rows(place.table)

        settled = stats.delivered + stats.pending + stats.dead + stats.dropped
        assert stats.accepted + stats.adopted == settled
        assert (stats.pending, stats.delivered) == (0, len(delivered))
        assert delivered <= set(PENDING) | set(DEAD)
        if stats.set_aside:
            event("set aside")
            assert read_content(path.parent / SET_ASIDE / path.name) == before
            assert stats.adopted == 0
        elif not stats.adopted:
            event("left alone")
            assert read_content(path) == before
        else:
            event("adopted")
            assert expected is not None
            whole = {number for number, is_whole in expected.items() if is_whole}
            assert whole <= delivered
            assert stats.dead + stats.delivered == len(expected)
            if all(each.file != INDEX for each in damage):
                # The index knows how long the log was: nothing is missed without a word.
                assert len(expected) == len(PENDING) + len(DEAD)
        if all(each.file == INDEX for each in damage):
            assert delivered == set(PENDING)
