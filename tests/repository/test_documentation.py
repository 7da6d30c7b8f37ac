"""The documentation's code runs, and its links lead somewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path for pattern in ("*.md", "docs/*.md", "receipt_*/README.md") for path in ROOT.glob(pattern)
)
PYTHON_BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?://|#|mailto:)([^)#]+)")


def name_page(path: Path) -> str:
    return str(path.relative_to(ROOT))


PAGES_WITH_CODE = [page for page in PAGES if PYTHON_BLOCK.search(page.read_text(encoding="utf-8"))]


def test_the_pages_are_found() -> None:
    assert {"README.md", "CLAUDE.md", "CHANGELOG.md", "docs/architecture.md"} <= set(
        map(name_page, PAGES)
    )
    assert "README.md" in map(name_page, PAGES_WITH_CODE)


@pytest.mark.parametrize("page", PAGES_WITH_CODE, ids=name_page)
def test_the_code_of_a_page_runs_from_top_to_bottom(page: Path, tmp_path: Path) -> None:
    """Each page is one program, run as a reader would, in a process of its own."""
    program = tmp_path / "page.py"
    blocks = PYTHON_BLOCK.findall(page.read_text(encoding="utf-8"))
    program.write_text("\n".join(blocks), encoding="utf-8")
    environment = {**os.environ, "AWS_DEFAULT_REGION": "us-east-1"}
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:__main__", str(program)],
        capture_output=True,
        text=True,
        timeout=100,
        cwd=tmp_path,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("page", PAGES, ids=name_page)
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    missing = [link for link in LINK.findall(text) if not (page.parent / link).exists()]
    assert missing == []
