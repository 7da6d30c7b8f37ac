"""Journals that real processes left or own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from receipt_dynamo import DynamoClient
from receipt_dynamo.data.journal.directory import HeldJournal, JournalDirectory, JournalTarget
from receipt_dynamo.testing import ErrorReply, FaultProxy

PROGRAM = Path(__file__).parents[1] / "receipt_dynamo" / "cli" / "leave_records.py"
USER = "user-canary"
ITEM = b'{"PK":{"S":"p"},"SK":{"S":"%d"},"userId":{"S":"someone"}}'


@dataclass
class LivingProcess:
    """A process that owns a journal, and can be told to end."""

    process: subprocess.Popen[str]

    @property
    def pid(self) -> int:
        return self.process.pid

    def kill(self) -> None:
        """End it as the system does that is out of memory."""
        self.process.kill()
        self.process.communicate(timeout=60)

    def end(self) -> str:
        """Have it close its client; return what came of its records."""
        out, err = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, err
        return out.strip()


def read_ids(table: DynamoClient) -> set[str]:
    return {row.request_id for row in table.query_ai_usage_metrics_by_date("2026-03-01", "openai")}


class Processes:
    """Starts processes that accept records for a table, through the proxy."""

    def __init__(self, table_name: str, proxy: FaultProxy) -> None:
        self._table_name = table_name
        self._proxy = proxy
        self._living: list[LivingProcess] = []

    def leave(self, **plan: Any) -> None:
        """Have a process killed that holds records."""
        process = self._start(**plan, lives=False)
        _, err = process.communicate(timeout=60)
        self._proxy.heal()
        assert process.returncode == -signal.SIGKILL, err

    def keep(self, **plan: Any) -> LivingProcess:
        """Have a process live that holds records."""
        process = self._start(**plan, lives=True)
        living = LivingProcess(process)
        self._living.append(living)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return living

    def stop(self) -> None:
        for living in self._living:
            with living.process as process:
                process.kill()

    def _start(
        self,
        *,
        lives: bool,
        pending: int = 0,
        dead: int = 0,
        proven: bool = True,
        signs: bool = True,
        user_id: str = USER,
    ) -> subprocess.Popen[str]:
        plan = {
            "lives": lives,
            "pending": pending,
            "dead": dead,
            "proven": proven,
            "user_id": user_id,
        }
        if not proven:
            self._proxy.always(ErrorReply(), operations=("DescribeTable",))
        refusals = [ErrorReply(400, "ValidationException")] * dead
        self._proxy.script(*([None] if proven else []), *refusals)
        arguments = [self._table_name, self._proxy.endpoint_url, json.dumps(plan)]
        return subprocess.Popen(
            [sys.executable, str(PROGRAM), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={
                name: value
                for name, value in os.environ.items()
                if signs or not name.startswith(("AWS_ACCESS", "AWS_SECRET"))
            },
        )


def make_journal(
    directory: JournalDirectory,
    target: JournalTarget | None = None,
    *,
    pending: int = 0,
    dead: int = 0,
    arn: str | None = None,
    reason: str = "why",
) -> Path:
    """Make the journal of a process that is gone, of a form that no process of ours leaves."""
    target = target or JournalTarget("table", "us-east-1", "http://127.0.0.1:9")
    held: HeldJournal = directory.create(target, sync=False)
    for number in range(dead):
        held.journal.bury(held.journal.append(ITEM % number), reason, 2)
    for number in range(dead, dead + pending):
        held.journal.append(ITEM % number)
    if arn is not None:
        held.journal.write_notes([("table_arn", arn)])
    held.journal.close()
    held.lease.release(unlink=False)
    return held.journal.path
