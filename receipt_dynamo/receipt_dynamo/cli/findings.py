"""A finding of a command: its level, its text and its advice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """The level of a finding."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        level: How bad it is.
        says: What was found.
        advice: What to do about it, if anything.
        details: Further lines: of what, or commands.
    """

    level: Level
    says: str
    advice: str = ""
    details: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        """The finding and its advice, in one line."""
        return f"{self.says}; {self.advice}" if self.advice else self.says


def describe(finding: Finding, level: str = "") -> Iterator[str]:
    """Yield a finding as lines for people.

    Args:
        finding: It.
        level: Another word for how bad it is.
    """
    yield f"{level or finding.level}: {finding.line}"
    yield from (f"  {detail}" for detail in finding.details)
