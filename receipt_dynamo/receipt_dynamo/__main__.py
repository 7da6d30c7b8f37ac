"""``python -m receipt_dynamo``."""

import sys

from receipt_dynamo.cli.command_line import main

if __name__ == "__main__":
    sys.exit(main())
