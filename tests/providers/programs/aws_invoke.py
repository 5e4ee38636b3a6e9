"""Calls the function `capture` by an alias or a version. What it answers."""
import json
import sys

import boto3

endpoint, key, secret, qualifier = sys.argv[1:5]
functions = boto3.client(
    "lambda", endpoint_url=endpoint, region_name="eu-west-1", aws_access_key_id=key, aws_secret_access_key=secret
)
answer = functions.invoke(FunctionName="capture", Qualifier=qualifier)
print(json.dumps(json.load(answer["Payload"])))
