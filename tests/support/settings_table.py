"""The table of settings in docs/environments.md, from their declaration; run this to write it."""

from __future__ import annotations

import re
from pathlib import Path

from receipt_dynamo.data.delivery.settings import DeliverySettings
from receipt_dynamo.utils.settings import Setting, list_settings
from receipt_label.client_config import ClientConfig

PAGE = Path(__file__).parents[2] / "docs" / "environments.md"

START = "<!-- Written by python tests/support/settings_table.py -->\n"
END = "<!-- Until here -->\n"


def write_page(page: str) -> str:
    """Return the page with the table as it must be."""
    before, _, rest = page.partition(START)
    return f"{before}{START}\n{write_table()}\n{END}{rest.partition(END)[2]}"


def write_table() -> str:
    delivery = {each.name for each in list_settings(DeliverySettings)}
    settings = sorted(list_settings(ClientConfig), key=lambda each: each.name in delivery)
    head = "| variable | default | accepted | meaning |\n|---|---|---|---|\n"
    return head + "".join(f"{write_row(each)}\n" for each in settings)


def write_row(setting: Setting) -> str:
    cells = (
        ", ".join(f"`{name}`" for name in setting.variables),
        setting.default_in_words or "none",
        setting.kind.spelled,
        f"`{setting.name}`: {setting.sentence}",
    )
    return f"| {' | '.join(map(mark, cells))} |"


def mark(text: str) -> str:
    """Return a text for a cell, with links to pages."""
    linked = re.sub(r"docs/(\w+)\.md", r"[\1](\1.md)", text)
    code = re.sub(r"~(?:/[\w./]*\w)?|\$\w+", r"`\g<0>`", linked)
    return code.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(write_page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
