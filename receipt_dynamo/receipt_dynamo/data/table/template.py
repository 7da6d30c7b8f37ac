"""The table as a CloudFormation template."""

from __future__ import annotations

from typing import Any, Final

from receipt_dynamo.data.table.check import TableOptions, list_tags
from receipt_dynamo.data.table.schema import describe_table
from receipt_dynamo.entities.wire_form import EXPIRY_ATTRIBUTE

_RESOURCE: Final = "UsageTable"


def make_template(table_name: str, options: TableOptions) -> dict[str, Any]:
    """Return a template of a stack that has the table, which outlives the stack.

    Source of the properties: "AWS::DynamoDB::Table" in the CloudFormation Template Reference.

    Args:
        table_name: Default of the template's parameter ``TableName``.
        options: What the table should have beside keys and indexes.
    """
    # The parameters of CreateTable and the resource's properties have the same names.
    properties: dict[str, Any] = {
        **describe_table(table_name),
        "TableName": {"Ref": "TableName"},
    }
    if options.expires:
        properties["TimeToLiveSpecification"] = {
            "AttributeName": EXPIRY_ATTRIBUTE,
            "Enabled": True,
        }
    if options.recovers:
        properties["PointInTimeRecoverySpecification"] = {"PointInTimeRecoveryEnabled": True}
    if options.is_protected:
        properties["DeletionProtectionEnabled"] = True
    if options.tags:
        properties["Tags"] = list_tags(options)
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": "Usage records of AI calls",
        "Parameters": {"TableName": {"Type": "String", "Default": table_name}},
        "Resources": {
            _RESOURCE: {
                "Type": "AWS::DynamoDB::Table",
                "DeletionPolicy": "Retain",
                "UpdateReplacePolicy": "Retain",
                "Properties": properties,
            }
        },
        "Outputs": {
            "TableName": {"Value": {"Ref": _RESOURCE}},
            "TableArn": {"Value": {"Fn::GetAtt": [_RESOURCE, "Arn"]}},
        },
    }
