"""The parts of both command lines: arguments, output, and the meaning of boto3's errors."""
