"""The engines run, and end with the tests."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import boto3
import pytest

from engines.fixtures import Engine
from engines.install import MissingEngineError
from engines.launch import launch

KEEPER = Path(__file__).with_name("keeper.py")


def test_an_engine_keeps_what_is_put(engine: Engine, table_name: str) -> None:
    client = boto3.client("dynamodb", endpoint_url=engine.endpoint_url)
    client.create_table(
        TableName=table_name,
        KeySchema=[{"AttributeName": "PK", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "PK", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    client.get_waiter("table_exists").wait(TableName=table_name)
    client.put_item(TableName=table_name, Item={"PK": {"S": "a"}})
    assert client.get_item(TableName=table_name, Key={"PK": {"S": "a"}})["Item"] == {
        "PK": {"S": "a"}
    }
    client.close()


def test_an_engine_is_reached_over_loopback_only(engine: Engine) -> None:
    assert engine.endpoint_url.startswith("http://127.0.0.1:")


def test_a_stopped_engine_refuses_connections() -> None:
    try:
        with launch("ministack") as engine:
            port = int(engine.endpoint_url.rpartition(":")[2])
    except MissingEngineError as error:
        pytest.skip(str(error))
    with socket.socket() as client:
        assert client.connect_ex(("127.0.0.1", port)) != 0


def test_an_engine_that_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engines.launch.find_ministack", lambda: sys.executable)
    with pytest.raises(RuntimeError, match="No module named"), launch("ministack"):
        pass


# The child tells that it runs by a line on the pipe, and its end by the pipe's end.
CHILD = "import sys, threading; print('up', flush=True); threading.Event().wait()"


def test_an_engine_ends_when_the_test_run_is_killed() -> None:
    """pytest-timeout ends the run by ``os._exit``: no fixture is torn down, nor atexit run."""
    run = (
        "import os, subprocess, sys\n"
        f"subprocess.Popen([sys.executable, {str(KEEPER)!r}, sys.executable, '-c', {CHILD!r}],"
        " stdin=subprocess.PIPE, start_new_session=True)\n"
        "sys.stdin.readline()\n"
        "os._exit(1)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", run], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as killed:
        assert killed.stdout is not None
        assert killed.stdout.readline() == "up\n"
        killed.communicate("exit\n", timeout=30)  # Ends only when the engine has ended too.
    assert killed.returncode == 1


def test_the_keeper_ends_with_its_engine() -> None:
    with subprocess.Popen(
        [sys.executable, str(KEEPER), sys.executable, "-c", "raise SystemExit(3)"],
        stdin=subprocess.PIPE,
    ) as keeper:
        assert keeper.wait(30) == 3
