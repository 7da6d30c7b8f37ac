"""The file of an export: written under another name until it is whole, and resumable."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, Self

from receipt_dynamo.cli.arguments import CommandError
from receipt_dynamo.cli.files import write_new, write_whole
from receipt_label.reporting.period import Period, read_zone
from receipt_label.reporting.selection import Selection
from receipt_label.tracking.usage_log import to_line

if TYPE_CHECKING:
    from receipt_dynamo import AIUsageMetric

_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far an export is.

    Attributes:
        table: The table that is read.
        selection: Which records; its period is as it was when the export began.
        today: In UTC, when it began.
        parts: Parts of the selection that are in the file.
        size: Bytes of the file that hold them.
        records: Records that they hold.
    """

    table: str
    selection: Selection
    today: date
    parts: int = 0
    size: int = 0
    records: int = 0

    def to_json(self) -> str:
        """Return it as JSON."""
        period = self.selection.period
        return json.dumps(
            {
                "version": _VERSION,
                "table": self.table,
                "since": None if period.start is None else period.start.isoformat(),
                "until": None if period.end is None else period.end.isoformat(),
                "timezone": str(period.zone),
                "filters": self.selection.filters,
                "today": self.today.isoformat(),
                "parts": self.parts,
                "size": self.size,
                "records": self.records,
            }
        )

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what :meth:`to_json` returned.

        Raises:
            ValueError: It is something else.
        """
        try:
            found = json.loads(text)
            if found["version"] != _VERSION:
                raise ValueError(f"version {found['version']}")
            period = Period(
                _read_moment(found["since"]),
                _read_moment(found["until"]),
                read_zone(found["timezone"]),
            )
            return cls(
                found["table"],
                Selection(period=period, **found["filters"]),
                date.fromisoformat(found["today"]),
                *(int(found[name]) for name in ("parts", "size", "records")),
            )
        except (LookupError, TypeError) as error:
            raise ValueError(f"{type(error).__name__}: {error}") from error


def _read_moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text).astimezone(UTC)


class ExportFile:
    """The files of one export.

    ``NAME.part`` grows part by part, and ``NAME.part.json`` says how far it is; what was
    written after that is cut off when the export is resumed. At the end the first becomes
    NAME and the second is removed. Only this user can read them.

    Args:
        name: Of the file when it is whole.
    """

    def __init__(self, name: str) -> None:
        self.path = Path(name)
        self.part = Path(f"{name}.part")
        self._note = Path(f"{name}.part.json")

    def begin(self, checkpoint: Checkpoint) -> None:
        """Make the files of a new export.

        Raises:
            CommandError: The file exists, or an export of it was interrupted.
            OSError: They cannot be made.
        """
        if self.path.exists():
            raise CommandError(f"FILE is {self.path}, which exists; accepted is a new file")
        try:
            with write_new(self.part):
                pass
        except FileExistsError:
            raise CommandError(
                f"{self.part} is left of an export that was interrupted; --resume goes on with "
                "it, or remove it"
            ) from None
        self._write_note(checkpoint)

    def resume(self, table: str) -> Checkpoint:
        """Return how far an interrupted export is.

        Raises:
            CommandError: It does not exist, it cannot be read, or it is of another table.
            OSError: The files cannot be read.
        """
        try:
            checkpoint = Checkpoint.from_json(self._note.read_text("utf-8"))
            size = self.part.stat().st_size
        except FileNotFoundError:
            raise CommandError(f"there is no interrupted export to {self.path}") from None
        except ValueError as error:
            raise CommandError(
                f"{self._note} is damaged ({error}); remove it and {self.part}"
            ) from None
        if checkpoint.table != table:
            raise CommandError(
                f"--table is {table}; the interrupted export is of table {checkpoint.table}"
            )
        if size < checkpoint.size:
            raise CommandError(f"{self.part} is shorter than it was; remove it and {self._note}")
        return checkpoint

    def append(self, checkpoint: Checkpoint, records: Iterable[AIUsageMetric]) -> Checkpoint:
        """Write the next part, and return how far the export is then.

        Raises:
            OSError: It cannot be written; the checkpoint stays as it was.
        """
        count = 0
        with self._open_at(checkpoint.size) as stream:
            for record in records:
                stream.write(to_line(record))
                count += 1
            stream.flush()
            os.fsync(stream.fileno())
            size = stream.tell()
        done = replace(
            checkpoint,
            parts=checkpoint.parts + 1,
            size=size,
            records=checkpoint.records + count,
        )
        self._write_note(done)
        return done

    def finish(self) -> None:
        """Give the file its name.

        Raises:
            OSError: It cannot be.
        """
        self.part.rename(self.path)
        self._note.unlink()

    @contextmanager
    def _open_at(self, size: int) -> Iterator[IO[bytes]]:
        with self.part.open("r+b") as stream:
            stream.truncate(size)
            stream.seek(size)
            yield stream

    def _write_note(self, checkpoint: Checkpoint) -> None:
        # A half-written note would lose the export.
        with write_whole(self._note) as stream:
            stream.write(checkpoint.to_json())
