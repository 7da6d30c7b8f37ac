"""What can be chosen about a demo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

MAX_CALLS: Final = 100_000
MAX_THREADS: Final = 64
MAX_SECONDS: Final = 3_600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """What can be chosen about a demo.

    Args:
        calls: SDK calls in all, 1 to 100,000.
        threads: Threads that make them, 1 to 64.
        seconds: Time that the calls are spread over, up to an hour; for a third of it
            DynamoDB is down.
        plain: True for plain lines in place of a live panel.

    Raises:
        ValueError: A number is out of bounds; it is named.
    """

    calls: int = 1_000
    threads: int = 8
    seconds: float = 10.0
    plain: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.calls <= MAX_CALLS:
            raise ValueError(f"calls is {self.calls}; accepted are 1 to {MAX_CALLS}")
        if not 1 <= self.threads <= MAX_THREADS:
            raise ValueError(f"threads is {self.threads}; accepted are 1 to {MAX_THREADS}")
        if not 0 < self.seconds <= MAX_SECONDS:
            raise ValueError(
                f"seconds is {self.seconds}; accepted are numbers above 0, up to {MAX_SECONDS:.0f}"
            )

    @staticmethod
    def add_arguments(parser: ArgumentParser) -> None:
        """Add the options to a command's parser."""
        default = DemoOptions()
        parser.add_argument(
            "--calls", type=int, default=default.calls, help="SDK calls in all (%(default)s)"
        )
        parser.add_argument(
            "--threads",
            type=int,
            default=default.threads,
            help="threads that make them (%(default)s)",
        )
        parser.add_argument(
            "--seconds",
            type=float,
            default=default.seconds,
            help="time that the calls are spread over; for a third of it DynamoDB is down "
            "(%(default)s)",
        )
        parser.add_argument(
            "--plain", action="store_true", help="plain lines in place of a live panel"
        )

    @classmethod
    def from_namespace(cls, chosen: Namespace) -> Self:
        """Return what was chosen on the command line.

        Raises:
            ValueError: A number is out of bounds; it is named.
        """
        return cls(
            calls=chosen.calls,
            threads=chosen.threads,
            seconds=chosen.seconds,
            plain=chosen.plain,
        )

    def to_arguments(self) -> list[str]:
        """Return the options as arguments of ``receipt-usage demo``."""
        numbers = {"calls": self.calls, "threads": self.threads, "seconds": self.seconds}
        arguments = [f"--{name}={number}" for name, number in numbers.items()]
        return [*arguments, "--plain"] if self.plain else arguments
