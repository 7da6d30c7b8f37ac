"""Random damage to a killed process's files: no exception, no hang, nothing false delivered."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from receipt_dynamo import DynamoClient, ResilientDynamoClient
from receipt_dynamo.cli.commands.survey import survey
from receipt_dynamo.data.delivery.stats import DeliveryStats
from receipt_dynamo.data.journal.directory import SET_ASIDE, JournalDirectory
from receipt_dynamo.data.journal.file import list_files
from support.damaged_journals import DEAD, PENDING, KilledJournal, kill_a_process, make_metric

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


class Reading(NamedTuple):
    """What SQLite alone reads.

    Attributes:
        is_sound: Whether it calls the file sound.
        form: Tables and notes.
        rows: By number, whether the row is pending and as it was accepted; up to the first
            that cannot be read.
    """

    is_sound: bool
    form: list[Any]
    rows: dict[int, bool]


def read_with_sqlite(path: Path) -> Reading:
    reading = Reading(False, [], {})
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / path.name
        for source, target in zip(list_files(path)[:INDEX], list_files(copy)[:INDEX], strict=True):
            shutil.copy(source, target)
        # Python cannot decode all that SQLite quotes of a damaged file.
        with (
            suppress(sqlite3.DatabaseError, UnicodeDecodeError),
            closing(sqlite3.connect(copy)) as connection,
        ):
            connection.text_factory = bytes
            for sql in ("PRAGMA user_version", "SELECT sql FROM sqlite_master"):
                reading.form.extend(connection.execute(sql))
            reading.form.extend(connection.execute("SELECT * FROM target"))
            verdict = connection.execute("PRAGMA quick_check").fetchall()
            reading = reading._replace(is_sound=verdict == [(b"ok",)])
            for seq, item, reason, mark in connection.execute(
                "SELECT seq, item, reason, mark FROM records ORDER BY seq"
            ):
                reading.rows[seq] = (
                    reason is None
                    and seq in ORIGINALS
                    and item == ORIGINALS[seq].to_dynamodb_json()
                    and mark == zlib.crc32(item, seq)
                )
    return reading


def read_content(path: Path) -> list[bytes]:
    files = list_files(path)[:INDEX]
    return [each.read_bytes() if each.exists() else b"" for each in files]


@given(damage=damages)
@pytest.mark.timeout(1_800)
@settings(max_examples=settings.default.max_examples // 10)
def test_whatever_befalls_the_files_of_a_killed_process(place: Place, damage: list[Damage]) -> None:
    with damaged_journal(place, damage) as path:
        before = read_content(path)
        survey(JournalDirectory(path.parent))
        assert read_content(path) == before
        reading = read_with_sqlite(path)
        stats = adopt(place, path.parent)
        delivered = take_rows(place.table)

        settled = stats.delivered + stats.pending + stats.dead + stats.dropped
        assert stats.accepted + stats.adopted == settled
        assert (stats.pending, stats.delivered) == (0, len(delivered))
        assert delivered <= set(PENDING) | set(DEAD)
        whole = {number for number, is_whole in reading.rows.items() if is_whole}
        if stats.set_aside:
            event("set aside")
            assert read_content(path.parent / SET_ASIDE / path.name) == before
            if reading.form == read_with_sqlite(place.killed.path).form:
                event("rescued")
                assert whole <= delivered
        elif not stats.adopted:
            event("left alone")
            assert read_content(path) == before
        else:
            event("adopted")
            assert reading.is_sound
            assert whole <= delivered
            assert stats.dead + stats.delivered == len(reading.rows)
            if all(each.file != INDEX for each in damage):
                # The index knows how long the log was: nothing is missed without a word.
                assert len(reading.rows) == len(PENDING) + len(DEAD)
        if all(each.file == INDEX for each in damage):
            assert delivered == set(PENDING)
