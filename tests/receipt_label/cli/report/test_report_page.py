"""The page, as Chromium shows it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from engines.install import are_required
from receipt_dynamo import AIUsageMetric
from receipt_dynamo.cli.output import make_printable
from receipt_label.cli.report.page import draw_page
from receipt_label.reporting.usage_report import Grouping
from support.report_answers import (
    COURSE,
    HOSTILE,
    answer,
    make_hostile_records,
    make_usual_records,
)

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

GROUPINGS: list[Grouping] = [("service", "model"), ("user",), ("job",)]
PHONE, DESK = 360, 1280

# No sandbox, as root in a container has none; and no request of the browser's own.
_SWITCHES = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
]  # fmt: skip


def find_chromium() -> str | None:
    names = ("chromium", "chromium-browser", "google-chrome")
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = find_chromium()
    if path is None:
        report = pytest.fail if are_required() else pytest.skip
        report("Chromium is not installed: the page is not looked at (apt install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=_SWITCHES)
        yield browser
        browser.close()


def draw(records: list[AIUsageMetric]) -> str:
    return draw_page(answer(records, [COURSE, *GROUPINGS]), COURSE, GROUPINGS, 20)


@pytest.fixture
def show(browser: Browser, tmp_path: Path) -> Iterator[Callable[..., tuple[Page, list[str]]]]:
    """Return a function that opens a page; it gives what the browser complains of as well."""
    opened: list[Page] = []

    def open_page(html: str, **how: Any) -> tuple[Page, list[str]]:
        file = tmp_path / "report.html"
        file.write_text(html, encoding="utf-8")
        page = browser.new_page(**how)
        opened.append(page)
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: complaints.append(request.url))
        page.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))
        page.goto(file.as_uri())
        complaints.remove(file.as_uri())
        return page, [text for text in complaints if text != "data:,"]

    yield open_page
    for page in opened:
        page.close()


def luminance(color: str) -> float:
    """Return the relative luminance of WCAG 2.2 of an "rgb(r, g, b)"."""
    channels = [int(part) / 255 for part in re.findall(r"\d+", color)[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(first: str, second: str) -> float:
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [PHONE, DESK])
def test_the_page_is_readable_on_a_phone_and_in_the_dark(
    show: Callable[..., tuple[Page, list[str]]], width: int, scheme: str
) -> None:
    page, complaints = show(
        draw(make_usual_records()), viewport={"width": width, "height": 800}, color_scheme=scheme
    )
    assert complaints == []
    # Nothing makes the whole page wider than the screen; tables scroll in themselves.
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    read = "element => { const style = getComputedStyle(element); return %s }"
    back = page.eval_on_selector("body", read % "style.backgroundColor")
    assert (luminance(back) < 0.1) == (scheme == "dark")
    card = page.eval_on_selector("section", read % "style.backgroundColor")
    for selector in ("h1", "h2", "td", "th", "dd", "dt", ".legend li", ".steps span"):
        color = page.eval_on_selector(selector, read % "style.color")
        assert contrast(color, card) >= 4.5, selector  # WCAG 2.2, 1.4.3 (AA).
        assert page.eval_on_selector(selector, read % "parseFloat(style.fontSize)") >= 12
    for part in (".part0", ".part1"):
        assert contrast(page.eval_on_selector(part, read % "style.fill"), card) >= 3  # 1.4.11.
    columns = page.locator(".course > svg rect")
    assert columns.count() >= 10
    box = columns.first.bounding_box()
    assert box is not None
    assert box["width"] >= 4
    cost = page.locator("tbody td.number").first.bounding_box()
    assert cost is not None
    assert cost["x"] + cost["width"] <= width


def test_hostile_names_are_shown_and_do_nothing(
    show: Callable[..., tuple[Page, list[str]]],
) -> None:
    page, complaints = show(draw(make_hostile_records()))
    assert complaints == []
    assert page.title().startswith("AI usage")
    assert page.locator("script, img, iframe, a, [onload], [onerror]").count() == 0
    shown = set(page.locator("td.name").all_inner_texts())
    assert {make_printable(name).lower() for name in HOSTILE} <= shown
    assert "\x1b" not in page.content()


def test_a_page_without_records_says_so(show: Callable[..., tuple[Page, list[str]]]) -> None:
    page, complaints = show(draw([]))
    assert complaints == []
    assert "No records." in page.inner_text("main")


def test_columns_are_as_high_as_their_costs(
    show: Callable[..., tuple[Page, list[str]]],
) -> None:
    days = [("2026-03-27", 1), ("2026-03-28", 4), ("2026-03-30", 2)]
    records = [
        AIUsageMetric(
            "openai",
            "gpt-4o",
            "completion",
            datetime.fromisoformat(day).replace(tzinfo=UTC),
            cost_usd=cost,
        )
        for day, cost in days
    ]
    page, _ = show(draw(records))
    heights = page.eval_on_selector_all(
        ".course > svg g",
        "groups => groups.map(g => g.querySelector('rect')?.getBoundingClientRect().height ?? 0)",
    )
    assert [round(height / heights[1], 2) for height in heights] == [0.25, 1, 0, 0.5]


def test_the_parts_of_a_column_stand_on_each_other(
    show: Callable[..., tuple[Page, list[str]]],
) -> None:
    page, _ = show(draw(make_usual_records()))
    columns = page.eval_on_selector_all(
        ".course > svg g",
        "groups => groups.map(g => [...g.querySelectorAll('rect')].map(r => {"
        " const box = r.getBoundingClientRect(); return [box.top, box.bottom] }))",
    )
    floor = max(bottom for column in columns for _, bottom in column)
    assert len(columns[1]) == 2
    for column in columns:
        expected = floor
        for top, bottom in column:
            assert abs(bottom - expected) < 0.1
            expected = top


class _Elements(HTMLParser):
    """What a page is made of, read without a browser."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


def test_the_page_needs_nothing_else_and_runs_nothing() -> None:
    for records in (make_usual_records(), make_hostile_records()):
        html = draw(records)
        found = _Elements(html)
        assert not found.tags & {"script", "img", "iframe", "object", "embed", "a", "form"}
        assert not {name for name in found.attributes if name.startswith("on")}
        assert not found.attributes & {"src", "srcset", "style", "action"}
        assert "default-src &#x27;none&#x27;" in html
        assert "url(" not in html
        assert "@import" not in html


def test_amounts_are_in_the_page() -> None:
    records = [
        AIUsageMetric(
            "openai", "gpt-4o", "completion", moment, cost_usd="1234.5678", input_tokens=1234567
        )
        for moment in [make_usual_records()[0].timestamp]
    ]
    html = draw(records)
    assert "1,234.57" in html
    assert "1,234,567" in html
    assert "12.5 read units" not in html
    assert "made on 2026-04-04 06:30 UTC" in html
