"""The page about adding a provider, word for word: its package, its program, the rows."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from receipt_dynamo import AIUsageMetric, DynamoClient

PAGE = Path(__file__).parents[3] / "docs" / "add_a_provider.md"
FILE = re.compile(r"^```\w+ file=(\S+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


class AcmeServer(BaseHTTPRequestHandler):
    """Acme's API: an engine "acme-gone" is none; an answer is the question, in words."""

    numbers = itertools.count(1)

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if asked["engine"] == "acme-gone":
            self.send_error(404)
            return
        answer = {
            "call_id": f"id-of-acme-{next(self.numbers)}",
            "engine": asked["engine"],
            "text": asked["question"],
            "units_in": 1000,
            "units_out": 500,
        }
        documents: list[dict[str, Any]] = [answer]
        if self.path == "/parts":
            documents = [{"text": word} for word in asked["question"].split()]
            documents[-1]["answer"] = answer
        body = b"\n".join(json.dumps(document).encode() for document in documents)
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None: ...


@pytest.fixture
def acme_url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), AcmeServer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with the page's files, and what an installer makes of its pyproject.toml."""
    for name, text in FILE.findall(PAGE.read_text(encoding="utf-8")):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    project = tomllib.loads((tmp_path / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    about = tmp_path / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    (about / "entry_points.txt").write_text(
        "".join(
            f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in rows.items())
            for group, rows in project["entry-points"].items()
        )
    )
    return tmp_path


def run(site: Path, program: str, *arguments: str, **variables: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", program, *arguments],
        cwd=site,
        env={**os.environ, "PYTHONPATH": str(site), **variables},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


def test_the_page_records_every_call(
    site: Path, acme_url: str, table: DynamoClient, moto_endpoint: str
) -> None:
    said = run(
        site,
        "use.py",
        acme_url,
        ENVIRONMENT="test",
        DYNAMODB_TABLE_NAME=table.table_name,
        AWS_DEFAULT_REGION="us-east-1",
        AWS_ENDPOINT_URL_DYNAMODB=moto_endpoint,
    )
    assert said.count("fish?") == 2
    assert "failed=0" in said

    rows = list(table.query_ai_usage_metrics_by_job("job-7"))
    assert [describe(row) for row in rows] == [
        *[("acme-small", 1000, 500, Decimal("0.006"), None)] * 4,
        ("acme-large", 1000, 500, None, None),
        ("acme-gone", None, None, None, "AcmeError: HTTP 404"),
        ("acme-small", 7, 3, Decimal("0.000038"), None),
    ]
    assert {(row.service, row.operation) for row in rows} == {("acme", "answer")}
    streams = [row for row in rows if "time_to_first_token_ms" in row.metadata]
    assert streams == [rows[1], rows[3]]
    assert all(row.request_id.startswith("id-of-acme-") for row in rows[:5])
    assert rows[0].metadata["pricing"]["source"] == "provider"
    assert rows[0].metadata["pricing"]["url"] == "https://acme.example/prices"
    assert rows[4].metadata["pricing"]["status"] == "unpriced"
    assert rows[0].metadata["operation_type"] == "pricing"


def describe(row: AIUsageMetric) -> tuple[Any, ...]:
    return (row.model, row.input_tokens, row.output_tokens, row.cost_usd, row.error)


def test_nothing_of_the_package_is_imported_before_it_is_asked_for(site: Path) -> None:
    (site / "look.py").write_text(
        "import sys, receipt_label, receipt_label.providers.registry as registry\n"
        "assert not {'receipt_acme', 'importlib.metadata'} & sys.modules.keys()\n"
        "assert [each.service for each in registry.list_providers()][-1] == 'acme'\n"
        "assert 'acme' not in sys.modules\n"
    )
    run(site, "look.py")


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        ("import no_such_package", "ModuleNotFoundError: No module named 'no_such_package'"),
        ("PROVIDER = 7", "TypeError: the entry point acme = receipt_acme:PROVIDER is of type int"),
        (
            "from receipt_label.providers import Provider; PROVIDER = Provider(service='other')",
            "ValueError: the entry point acme = receipt_acme:PROVIDER is the provider 'other'",
        ),
    ],
)
def test_a_package_that_is_broken_harms_no_other(site: Path, module: str, reason: str) -> None:
    (site / "receipt_acme" / "__init__.py").write_text(module)
    (site / "look.py").write_text(
        "import logging, acme, openai\n"
        "from receipt_label.testing import UsageInMemory\n"
        "logging.basicConfig()\n"
        "tracker = UsageInMemory().tracker\n"
        "tracker.wrap(openai.OpenAI(api_key='any'))\n"
        "for _ in range(2):\n"
        "    try:\n"
        "        tracker.wrap(acme.Client('http://127.0.0.1'))\n"
        "    except TypeError as error:\n"
        "        assert 'accepted are openai.OpenAI, ' in str(error)\n"
        "    else:\n"
        "        raise SystemExit('it was wrapped')\n"
    )
    said = run(site, "look.py", ENVIRONMENT="test")
    assert said.count(f"the provider 'acme' cannot be used: {reason}") == 1


def test_who_uses_one_of_ours_does_not_wait_for_the_others(site: Path) -> None:
    (site / "look.py").write_text(
        "import sys, openai\n"
        "from receipt_label.testing import ProviderStub, UsageInMemory\n"
        "usage = UsageInMemory()\n"
        "with ProviderStub() as stub:\n"
        "    plain = openai.OpenAI(api_key='any', base_url=stub.openai_base_url)\n"
        "    usage.tracker.wrap(plain).embeddings.create(\n"
        "        model='text-embedding-3-small', input='fish')\n"
        "assert usage.records[0].cost_usd\n"
        "from receipt_label.providers import registry\n"
        "assert registry._find_entries.cache_info().misses == 0\n"
        "assert 'receipt_acme' not in sys.modules\n"
    )
    run(site, "look.py", ENVIRONMENT="test")


def test_a_price_list_that_is_broken_leaves_the_calls_without_a_price(
    site: Path, acme_url: str
) -> None:
    (site / "receipt_acme" / "prices.toml").write_text('[[price]]\nservice = "acme"\ninput = -1\n')
    (site / "look.py").write_text(
        "import logging, sys, acme\n"
        "from receipt_label.testing import UsageInMemory\n"
        "logging.basicConfig()\n"
        "usage = UsageInMemory()\n"
        "usage.tracker.wrap(acme.Client(sys.argv[1])).answer('fish?')\n"
        "(record,) = usage.records\n"
        "assert (record.input_tokens, record.cost_usd) == (1000, None)\n"
    )
    said = run(site, "look.py", acme_url, ENVIRONMENT="test")
    assert "the prices of acme cannot be used" in said
    assert "models is missing" in said


def test_one_of_ours_cannot_be_replaced(site: Path) -> None:
    about = next(site.glob("*.dist-info")) / "entry_points.txt"
    about.write_text("[receipt_label.providers]\nopenai = receipt_acme:PROVIDER\n")
    (site / "look.py").write_text(
        "import logging\n"
        "from receipt_label.providers.registry import find_provider, list_providers\n"
        "logging.basicConfig()\n"
        "names = [each.service for each in list_providers()]\n"
        "assert names == ['openai', 'anthropic', 'google_places']\n"
        "assert find_provider('openai').classes[0] == 'openai.OpenAI'\n"
    )
    assert "'openai' of receipt_acme:PROVIDER is there already" in run(site, "look.py")
