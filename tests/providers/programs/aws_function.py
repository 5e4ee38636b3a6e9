"""The function `capture`, as boto3 sees it: its versions and aliases."""
import json
import sys

import boto3

endpoint, key, secret = sys.argv[1:4]
functions = boto3.client(
    "lambda", endpoint_url=endpoint, region_name="eu-west-1", aws_access_key_id=key, aws_secret_access_key=secret
)
versions = functions.list_versions_by_function(FunctionName="capture")["Versions"]
print(json.dumps({
    "versions": {of["Version"]: of["Description"] for of in versions if of["Version"] != "$LATEST"},
    "aliases": {
        of["Name"]: {"version": of["FunctionVersion"], "more": of.get("RoutingConfig", {}).get("AdditionalVersionWeights", {})}
        for of in functions.list_aliases(FunctionName="capture")["Aliases"]
    },
}))
