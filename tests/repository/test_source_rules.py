"""Rules of the source that no linter has: each names the failure that it prevents."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import receipt_dynamo

ROOT = Path(__file__).parents[2]
PACKAGES = (ROOT / "receipt_dynamo" / "receipt_dynamo", ROOT / "receipt_label" / "receipt_label")
SOURCES = [path for package in PACKAGES for path in sorted(package.rglob("*.py"))]


def read_calls(path: Path) -> Iterator[ast.Call]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def called_name(call: ast.Call) -> str:
    return ast.unparse(call.func)


def test_the_sources_are_found() -> None:
    assert len(SOURCES) > 30


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_lock_is_taken_with_with(path: Path) -> None:
    """A lock taken by hand stays taken when the code in between raises."""
    names = {called_name(call).rpartition(".")[2] for call in read_calls(path)}
    assert "acquire" not in names


@pytest.mark.parametrize(
    "path",
    [path for path in SOURCES if {"utils", "data"} & set(path.parts)],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_no_wall_clock_in_delivery(path: Path) -> None:
    """A wall clock jumps: an open breaker or a pause could last for hours."""
    calls = {called_name(call) for call in read_calls(path)}
    assert not calls & {"time.time", "datetime.now", "datetime.utcnow", "datetime.datetime.now"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_production_code_knows_nothing_of_mocks_or_test_runs(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert "unittest.mock" not in text
    assert "PYTEST_CURRENT_TEST" not in text


PATTERN_WORDS = ("breaker", "retry", "retrier", "backoff", "queue")


@pytest.mark.parametrize(
    "path",
    [path for path in SOURCES if "utils" not in path.parts],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_a_resilience_pattern_lives_in_utils_alone(path: Path) -> None:
    """A second breaker, retry loop or queue has its own idea of what may be dropped."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    classes = [node.name.lower() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    assert not [name for name in classes if any(word in name for word in PATTERN_WORDS)]
    imported = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert not imported & {"queue", "Queue", "SimpleQueue", "tenacity", "backoff", "pybreaker"}


FOLDERS = [path for path in SOURCES if path.name == "__init__.py"]


@pytest.mark.parametrize("path", FOLDERS, ids=lambda path: str(path.parent.relative_to(ROOT)))
def test_a_folder_says_what_its_files_have_in_common(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


def test_every_folder_is_a_package() -> None:
    """What reads packages passes over a folder without ``__init__``, as import-linter does."""
    assert {path.parent for path in SOURCES} == {path.parent for path in FOLDERS}


@pytest.mark.parametrize("package", [package.name for package in PACKAGES])
def test_imports_form_no_circle(package: str) -> None:
    """Modules that import one another can only be read, moved and tested together."""
    graph = pytest.importorskip("grimp").build_graph(package, cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    TopologicalSorter(imports).prepare()  # A CycleError shows the circle.


SDK = {"boto3", "botocore", "pydantic", "pydantic_core"}


@pytest.mark.parametrize(
    ("package", "late"),
    [
        ("receipt_dynamo", SDK),
        ("receipt_dynamo.metrics", {*SDK, "opentelemetry", "prometheus_client"}),
        (
            "receipt_label",
            {*SDK, "openai", "anthropic", "genai_prices", "moto", "rich"},
        ),
    ],
)
def test_heavy_dependencies_are_imported_late(package: str, late: set[str]) -> None:
    """A service pays for a provider's package only when it uses that provider."""
    code = f"import sys, {package}; print(*{late!r} & sys.modules.keys())"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT / "tests"
    )
    assert found.stdout.split() == []


def test_the_late_names_of_receipt_dynamo_are_all_there() -> None:
    assert set(receipt_dynamo._HOMES) == set(receipt_dynamo.__all__) <= set(dir(receipt_dynamo))
    for name in receipt_dynamo.__all__:
        assert getattr(receipt_dynamo, name).__name__ == name
    with pytest.raises(AttributeError, match="'receipt_dynamo' has no attribute 'put_item'"):
        receipt_dynamo.put_item  # type: ignore[attr-defined]  # noqa: B018
