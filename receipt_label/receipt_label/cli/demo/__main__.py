"""``python -m receipt_label.cli.demo``: the child process of ``receipt-usage demo``."""

from __future__ import annotations

import argparse
import sys

from receipt_label.cli.demo.launch import INTERRUPTED
from receipt_label.cli.demo.options import DemoOptions
from receipt_label.cli.demo.run import run_demo


def main() -> int:
    """Run the demo in this process; return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m receipt_label.cli.demo")
    DemoOptions.add_arguments(parser)
    try:
        return run_demo(DemoOptions.from_namespace(parser.parse_args()), sys.stdout)
    except KeyboardInterrupt:
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
