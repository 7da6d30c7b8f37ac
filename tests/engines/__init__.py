"""The DynamoDB engines that the contract tests run against: installing and starting them."""
