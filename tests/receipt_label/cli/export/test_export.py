"""``receipt-usage export``: whole, or resumed until it is."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from receipt_dynamo import AIUsageMetric, DynamoClient
from receipt_dynamo.testing import FaultProxy, Stall
from receipt_label.cli.export import file as export_file
from receipt_label.tracking.usage_log import to_line
from support.command_runs import Ended
from support.report_records import make_report_records

Run = Callable[..., Ended]
LEDGER = make_report_records(60, seed=3)

# What runs in the background of a shell has SIGINT ignored, and so has its children.
INTERRUPTIBLE = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from receipt_label.cli.main import main
sys.exit(main(sys.argv[1:]))
"""
SINCE = ("--since", "2026-03-26", "--until", "2026-04-03")


@pytest.fixture
def where(table: DynamoClient, moto_endpoint: str) -> list[str]:
    """The arguments that name a table with the report records."""
    assert table.batch_put_ai_usage_metrics(LEDGER) == []
    return ["--table", table.table_name, "--endpoint-url", moto_endpoint]


def lines_of(file: Path) -> list[bytes]:
    return file.read_bytes().splitlines(keepends=True)


def expected(records: list[AIUsageMetric] = LEDGER) -> list[bytes]:
    return sorted(map(to_line, records))


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != "journal")


def test_each_record_is_a_line_by_day(run: Run, where: list[str], tmp_path: Path) -> None:
    file = tmp_path / "out.jsonl"
    status, out, err = run("export", *where, *SINCE, str(file))
    assert (status, out) == (0, "")
    assert f"60 records in {file}" in err
    lines = lines_of(file)
    assert sorted(lines) == expected()
    days = [json.loads(line)["timestamp"][:10] for line in lines]
    assert days == sorted(days)
    assert file.stat().st_mode & 0o777 == 0o600
    assert left_in(tmp_path) == ["out.jsonl"]


def test_what_is_selected_is_exported(run: Run, where: list[str], tmp_path: Path) -> None:
    file = tmp_path / "out.jsonl"
    arguments = ("--user", "ann", "--service", "openai", "--json")
    _, out, _ = run("export", *where, *SINCE, *arguments, str(file))
    wanted = [r for r in LEDGER if (r.user_id, r.service) == ("ann", "openai")]
    assert sorted(lines_of(file)) == expected(wanted)
    assert json.loads(out) == {"exported": len(wanted), "file": str(file), "invalid": 0}


def test_a_job_is_exported_from_its_beginning(run: Run, where: list[str], tmp_path: Path) -> None:
    file = tmp_path / "out.jsonl"
    assert run("export", *where, "--job", "job-1", str(file))[0] == 0
    assert sorted(lines_of(file)) == expected([r for r in LEDGER if r.job_id == "job-1"])


def test_an_export_can_be_printed(run: Run, where: list[str]) -> None:
    status, out, err = run("export", *where, *SINCE, "-")
    assert status == 0
    assert sorted(out.encode().splitlines(keepends=True)) == expected()
    assert "60 records read" in err


@pytest.mark.parametrize("fail_at", [0, 3, 8])
def test_an_interrupted_export_goes_on(
    run: Run,
    where: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fail_at: int,
) -> None:
    """What was written of the day on which it failed is written again, once."""
    file = tmp_path / "out.jsonl"
    write, parts = export_file.ExportFile.append, []

    def fail(self: Any, checkpoint: Any, records: Any) -> Any:
        if len(parts) == fail_at:
            with self.part.open("ab") as stream:
                stream.write(b'{"half":')
            raise KeyboardInterrupt
        parts.append(checkpoint)
        return write(self, checkpoint, records)

    with monkeypatch.context() as patch:
        patch.setattr(export_file.ExportFile, "append", fail)
        status, _, err = run("export", *where, *SINCE, str(file))
    assert status == 130
    assert "--resume goes on with it" in err
    assert left_in(tmp_path) == ["out.jsonl.part", "out.jsonl.part.json"]
    status, _, err = run("export", *where, *SINCE, str(file))
    assert status == 2
    assert "is left of an export that was interrupted; --resume goes on with it" in err
    assert run("export", *where, "--resume", str(file))[0] == 0
    assert sorted(lines_of(file)) == expected()
    assert left_in(tmp_path) == ["out.jsonl"]


def test_an_export_that_is_resumed_later_has_the_period_it_began_with(
    run: Run, where: list[str], table: DynamoClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trap: "7d" of another day is another week."""
    file = tmp_path / "out.jsonl"
    with monkeypatch.context() as patch:
        patch.setattr(export_file.ExportFile, "append", lambda *_: (_ for _ in ()).throw(OSError()))
        assert run("export", *where, "--since", "7d", str(file))[0] == 2
    from receipt_label.cli.export import command as export_command

    later = datetime(2026, 6, 1, tzinfo=UTC)
    monkeypatch.setattr(export_command, "utc_now", lambda: later)
    table.put_ai_usage_metric(AIUsageMetric("openai", "gpt-4o", "completion", later))
    assert run("export", *where, "--resume", str(file))[0] == 0
    since = datetime(2026, 3, 30, tzinfo=UTC)
    assert sorted(lines_of(file)) == expected([r for r in LEDGER if r.timestamp >= since])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--resume", "--since", "7d", "FILE"], "--resume excludes --since"),
        (["--resume", "--pull-request", "7", "FILE"], "--resume excludes --pull-request"),
        (["--resume", "FILE"], "there is no interrupted export to"),
        (["--resume", "-"], "--resume needs a FILE"),
        (["--since", "never", "FILE"], "--since is 'never'; accepted are"),
        (["/no/such/folder/out.jsonl"], "No such file or directory"),
        (["FOLDER"], "which exists; accepted is a new file"),
    ],
)
def test_bad_input_is_a_line_and_status_2(
    run: Run, where: list[str], tmp_path: Path, arguments: list[str], message: str
) -> None:
    names = {"FILE": str(tmp_path / "out.jsonl"), "FOLDER": str(tmp_path)}
    status, out, err = run("export", *where, *[names.get(text, text) for text in arguments])
    assert (status, out) == (2, "")
    assert message in err
    assert left_in(tmp_path) == []


@pytest.mark.parametrize(
    ("note", "message"),
    [
        ("{", "is damaged"),
        ("[]", "is damaged"),
        ('{"version": 9}', "is damaged (version 9)"),
        (None, "the interrupted export is of table other"),
        ("short", "is shorter than it was"),
    ],
)
def test_what_cannot_be_resumed_is_said(
    run: Run, where: list[str], tmp_path: Path, note: str | None, message: str
) -> None:
    file = tmp_path / "out.jsonl"
    file.with_name("out.jsonl.part").touch()
    whole = {
        "version": 1,
        "table": "other" if note is None else where[1],
        "since": None,
        "until": None,
        "timezone": "UTC",
        "filters": {"job": "job-1"},
        "today": "2026-04-05",
        "parts": 0,
        "size": 5,
        "records": 0,
    }
    text = json.dumps(whole) if note in (None, "short") else note
    file.with_name("out.jsonl.part.json").write_text(str(text))
    status, _, err = run("export", *where, "--resume", str(file))
    assert status == 2
    assert message in err
    assert left_in(tmp_path) == ["out.jsonl.part", "out.jsonl.part.json"]


@pytest.mark.parametrize(
    "arguments",
    [["report", "--html", "FILE"], ["export", "FILE"], ["report", "--csv"]],
    ids=["page", "export", "csv"],
)
def test_ctrl_c_leaves_no_half_file(
    table: DynamoClient, proxy: FaultProxy, tmp_path: Path, arguments: list[str]
) -> None:
    """In a process of its own, while it waits for DynamoDB."""
    table.put_ai_usage_metric(
        AIUsageMetric("openai", "gpt-4o", "completion", datetime.now(UTC) - timedelta(hours=1))
    )
    file = tmp_path / "out"
    given = [str(file) if text == "FILE" else text for text in arguments]
    where = ["--table", table.table_name, "--endpoint-url", proxy.endpoint_url]
    proxy.always(Stall(), operations=["Query"])
    command = [sys.executable, "-c", INTERRUPTIBLE, *given, *where]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert proxy.wait_for_requests(1, operations=["Query"])
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert "Traceback" not in err
    assert not file.exists()
    left = {path.name for path in tmp_path.iterdir()} - {"journal"}
    assert left <= {"out.part", "out.part.json"}
    assert bool(left) == (arguments[0] == "export")
