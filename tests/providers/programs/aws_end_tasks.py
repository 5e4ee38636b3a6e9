"""Ends the tasks that ECS lists and no container belongs to, as ECS itself does where an agent tells it so.

    aws_end_tasks.py MINISTACK KEY SECRET [ARN OF A TASK WITH A CONTAINER]...
"""
import json
import sys

import boto3

ministack, key, secret, *there = sys.argv[1:]
ecs = boto3.client("ecs", endpoint_url=ministack, region_name="eu-west-1", aws_access_key_id=key, aws_secret_access_key=secret)
listed = [arn for page in ecs.get_paginator("list_tasks").paginate(cluster="main") for arn in page["taskArns"]]
ended = [arn for arn in listed if arn not in there]
for arn in ended:
    ecs.stop_task(cluster="main", task=arn, reason="its container is gone")
print(json.dumps({"ended": len(ended)}))
