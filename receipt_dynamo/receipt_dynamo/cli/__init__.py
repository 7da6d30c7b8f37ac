"""What both command lines are made of: arguments, output, and what boto3's errors mean."""
