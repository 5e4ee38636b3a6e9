"""Somebody gives the ECS service of `capture` another number of tasks, by boto3."""
import json
import sys

import boto3

moto, ministack, key, secret, listener = sys.argv[1:6]
ecs = boto3.client("ecs", endpoint_url=ministack, region_name="eu-west-1", aws_access_key_id=key, aws_secret_access_key=secret)
ours = [arn for arn in ecs.list_services(cluster="main")["serviceArns"] if "-capture-" in arn]
for arn in ours:
    ecs.update_service(cluster="main", service=arn, desiredCount=5)
print(json.dumps({"changed": len(ours)}))
