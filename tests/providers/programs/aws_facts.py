"""What is there, as boto3 sees it: ECS services at MiniStack, rules and target groups at moto."""
import json
import sys

import boto3

moto, ministack, key, secret, listener = sys.argv[1:6]
with_keys = {"region_name": "eu-west-1", "aws_access_key_id": key, "aws_secret_access_key": secret}
elb = boto3.client("elbv2", endpoint_url=moto, **with_keys)
ecs = boto3.client("ecs", endpoint_url=ministack, **with_keys)


def tags(all_of_them):
    return {tag.get("Key") or tag.get("key"): tag.get("Value") or tag.get("value") for tag in all_of_them}


arns = [arn for page in ecs.get_paginator("list_services").paginate(cluster="main") for arn in page["serviceArns"]]
services = []
for arn in arns:
    service = ecs.describe_services(cluster="main", services=[arn], include=["TAGS"])["services"][0]
    if service["status"] != "INACTIVE":
        services.append({
            "name": service["serviceName"], "desired": service["desiredCount"], "running": service["runningCount"],
            "tags": tags(service.get("tags", [])), "groups": [of["targetGroupArn"] for of in service.get("loadBalancers", [])],
        })
rules = []
for rule in elb.describe_rules(ListenerArn=listener)["Rules"]:
    if rule["Priority"] == "default":
        continue
    described = elb.describe_tags(ResourceArns=[rule["RuleArn"]])["TagDescriptions"]
    action = rule["Actions"][-1]
    targets = action.get("ForwardConfig", {}).get("TargetGroups", [])
    rules.append({
        "arn": rule["RuleArn"], "priority": int(rule["Priority"]), "action": action["Type"],
        "tags": tags(described[0]["Tags"] if described else []),
        "targets": {of["TargetGroupArn"]: of["Weight"] for of in targets},
    })
out = {"services": services, "rules": rules, "groups": [of["TargetGroupArn"] for of in elb.describe_target_groups()["TargetGroups"]],
       # One that is deregistered and not deleted can be read like an active one.
       "definitions": [arn for status in ("ACTIVE", "INACTIVE")
                       for arn in ecs.list_task_definitions(status=status)["taskDefinitionArns"]]}
print(json.dumps(out))
