"""``python -m receipt_dynamo``."""

import sys

from receipt_dynamo.commands.command_line import main

if __name__ == "__main__":
    sys.exit(main())
