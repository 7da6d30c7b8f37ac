"""``receipt-usage doctor``: look at configuration, table, journals and packages."""

from receipt_label.cli.doctor.command import add, run

__all__ = ["add", "run"]
