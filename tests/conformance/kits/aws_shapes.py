"""What Amazon ECS and Elastic Load Balancing take: the requests that provider-aws sends, from the two API references.

AWS passes over fields that it does not know. Here they are refused: a field whose name is wrong has no effect there, and
nobody would be told.
"""

import re


class Refused(Exception):
    """An answer that is an error."""

    def __init__(self, code, message, status=400):
        super().__init__(message)
        self.code, self.message, self.status = code, message, status


# A type is a Python type, a list with the type of its items, a set of the words that are allowed, `MAP`, or the fields of
# a structure, where `!` marks those that are required.
MAP = object()
TAGS = [{"key!": str, "value": str}]
CONTAINER = {
    "name!": str, "image!": str, "cpu": int, "memory": int, "essential": bool, "entryPoint": [str], "command": [str],
    "environment": [{"name!": str, "value!": str}], "stopTimeout": int, "workingDirectory": str, "user": str,
    "portMappings": [{"containerPort!": int, "hostPort": int, "protocol": {"tcp", "udp"}}],
    "readonlyRootFilesystem": bool, "logConfiguration": {"logDriver!": str, "options": MAP},
}
HOOK = {
    "targetType": {"AWS_LAMBDA", "PAUSE"}, "hookTargetArn": str, "roleArn": str, "hookDetails": MAP,
    "lifecycleStages!": [{"RECONCILE_SERVICE", "PRE_SCALE_UP", "POST_SCALE_UP", "TEST_TRAFFIC_SHIFT", "POST_TEST_TRAFFIC_SHIFT",
                          "PRE_PRODUCTION_TRAFFIC_SHIFT", "PRODUCTION_TRAFFIC_SHIFT", "POST_PRODUCTION_TRAFFIC_SHIFT"}],
    "timeoutConfiguration": {"timeoutInMinutes": int, "action": {"CONTINUE", "ROLLBACK"}},
}
DEPLOYMENT = {
    "strategy": {"ROLLING", "BLUE_GREEN", "LINEAR", "CANARY"}, "maximumPercent": int, "minimumHealthyPercent": int,
    "deploymentCircuitBreaker": {"enable!": bool, "rollback!": bool}, "bakeTimeInMinutes": int, "lifecycleHooks": [HOOK],
    "canaryConfiguration": {"canaryPercent": float, "canaryBakeTimeInMinutes": int},
    "linearConfiguration": {"stepPercent": float, "stepBakeTimeInMinutes": int},
}
PLACES = [{
    "targetGroupArn": str, "containerName": str, "containerPort": int,
    "advancedConfiguration": {"alternateTargetGroupArn": str, "productionListenerRule": str, "testListenerRule": str,
                              "roleArn": str},
}]
NETWORK = {"awsvpcConfiguration": {"subnets!": [str], "securityGroups": [str], "assignPublicIp": {"ENABLED", "DISABLED"}}}
SERVICE = {
    "cluster": str, "taskDefinition": str, "desiredCount": int, "loadBalancers": PLACES, "deploymentConfiguration": DEPLOYMENT,
    "deploymentController": {"type!": {"ECS", "CODE_DEPLOY", "EXTERNAL"}}, "healthCheckGracePeriodSeconds": int,
    "networkConfiguration": NETWORK, "propagateTags": {"TASK_DEFINITION", "SERVICE", "NONE"}, "enableECSManagedTags": bool,
    "capacityProviderStrategy": [{"capacityProvider!": str, "weight": int, "base": int}],
}
PAGE = {"nextToken": str, "maxResults": int}

ECS = {
    "ListServices": {"cluster": str, **PAGE},
    "DescribeServices": {"cluster": str, "services!": [str], "include": [{"TAGS"}]},
    "CreateService": {**SERVICE, "serviceName!": str, "clientToken": str, "launchType": {"EC2", "FARGATE"},
                      "schedulingStrategy": {"REPLICA", "DAEMON"}, "tags": TAGS},
    "UpdateService": {**SERVICE, "service!": str, "forceNewDeployment": bool},
    "DeleteService": {"cluster": str, "service!": str, "force": bool},
    "RegisterTaskDefinition": {
        "family!": str, "containerDefinitions!": [CONTAINER], "networkMode": {"bridge", "host", "awsvpc", "none"},
        "requiresCompatibilities": [{"EC2", "FARGATE"}], "cpu": str, "memory": str, "executionRoleArn": str,
        "taskRoleArn": str, "tags": TAGS, "runtimePlatform": {"cpuArchitecture": str, "operatingSystemFamily": str},
    },
    "DeregisterTaskDefinition": {"taskDefinition!": str},
    "DeleteTaskDefinitions": {"taskDefinitions!": [str]},
    "DescribeTaskDefinition": {"taskDefinition!": str, "include": [{"TAGS"}]},
    "ListTaskDefinitions": {"familyPrefix": str, "status": {"ACTIVE", "INACTIVE", "DELETE_IN_PROGRESS"},
                            "sort": {"ASC", "DESC"}, **PAGE},
    "ListTasks": {"cluster": str, "serviceName": str, "desiredStatus": {"RUNNING", "PENDING", "STOPPED"}, **PAGE},
    "DescribeTasks": {"cluster": str, "tasks!": [str], "include": [{"TAGS"}]},
    "ListServiceDeployments": {"cluster": str, "service!": str, "status": [str], **PAGE},
    "DescribeServiceDeployments": {"serviceDeploymentArns!": [str]},
    "DescribeServiceRevisions": {"serviceRevisionArns!": [str]},
    "ContinueServiceDeployment": {"serviceDeploymentArn!": str, "hookId!": str, "action": {"CONTINUE", "ROLLBACK"}},
    "StopServiceDeployment": {"serviceDeploymentArn!": str, "stopType": {"ABORT", "ROLLBACK"}},
}
# How many things a list of a request may name.
MOST = {"services": 10, "tasks": 100, "taskDefinitions": 10, "serviceDeploymentArns": 20, "serviceRevisionArns": 20}
LONGEST_TOKEN = 36


def check_ecs(action, body):
    """Refuses what ECS does not take."""
    if action not in ECS:
        raise Refused("UnknownOperationException", f"{action} is not known")
    check(body, ECS[action], action)
    for name, most in MOST.items():
        if name in body and not 1 <= len(body[name]) <= most:
            raise Refused("InvalidParameterException", f"{name}: 1 to {most}")
    if not 1 <= body.get("maxResults", 100) <= 100:
        raise Refused("InvalidParameterException", "maxResults: 1 to 100")
    if len(body.get("clientToken", "")) > LONGEST_TOKEN:
        raise Refused("InvalidParameterException", f"clientToken: up to {LONGEST_TOKEN} characters")


def check(value, shape, at):
    """Refuses a value that is not of this type."""
    if isinstance(shape, dict):
        of_type(value, dict, at)
        names = {name.rstrip("!"): (name.endswith("!"), of) for name, of in shape.items()}
        for name in value:
            if name not in names:
                raise Refused("InvalidParameterException", f"{at} has no field {name}")
        for name, (required, of) in names.items():
            if name in value:
                check(value[name], of, f"{at}.{name}")
            elif required:
                raise Refused("InvalidParameterException", f"{at}.{name} cannot be empty")
    elif isinstance(shape, list):
        for number, item in enumerate(of_type(value, list, at)):
            check(item, shape[0], f"{at}[{number}]")
    elif isinstance(shape, set):
        if of_type(value, str, at) not in shape:
            raise Refused("InvalidParameterException", f"{at}: {value} is none of {', '.join(sorted(shape))}")
    elif shape is MAP:
        of_type(value, dict, at)
    else:
        of_type(value, shape, at)


def of_type(value, kind, at):
    kinds = (int, float) if kind is float else kind
    if not isinstance(value, kinds) or (isinstance(value, bool) and kind is not bool):
        raise Refused("SerializationException", f"{at} has another type")
    return value


LIST = r"\.member\.\d+"
CONDITION = (rf"Conditions{LIST}\.(Field|(HostHeaderConfig|PathPatternConfig)\.Values{LIST}"
             rf"|HttpHeaderConfig\.(HttpHeaderName|Values{LIST}))")
ACTION = (rf"Actions{LIST}\.(Type|ForwardConfig\.TargetGroups{LIST}\.(TargetGroupArn|Weight)"
          r"|FixedResponseConfig\.(StatusCode|ContentType|MessageBody))")
TAG = rf"Tags{LIST}\.(Key|Value)"
CHECK = [r"Matcher\.HttpCode", "HealthCheckEnabled", "HealthCheckProtocol", "HealthCheckPath", "HealthCheckIntervalSeconds",
         "HealthCheckTimeoutSeconds", "HealthyThresholdCount", "UnhealthyThresholdCount"]
# Each action's required parameters, and the others.
ELB = {
    "DescribeRules": ([], ["ListenerArn", rf"RuleArns{LIST}", "Marker", "PageSize"]),
    "DescribeListeners": ([], ["LoadBalancerArn", rf"ListenerArns{LIST}", "Marker", "PageSize"]),
    "DescribeTags": (["ResourceArns.member.1"], [rf"ResourceArns{LIST}"]),
    "CreateRule": (["ListenerArn", "Priority", "Conditions.member.1.Field", "Actions.member.1.Type"], [CONDITION, ACTION, TAG]),
    "ModifyRule": (["RuleArn"], [CONDITION, ACTION]),
    "DeleteRule": (["RuleArn"], []),
    "CreateTargetGroup": (["Name"], ["Protocol", "Port", "VpcId", "TargetType", TAG, *CHECK]),
    "ModifyTargetGroup": (["TargetGroupArn"], CHECK),
    "DescribeTargetGroups": ([], [rf"Names{LIST}", rf"TargetGroupArns{LIST}", "Marker", "PageSize"]),
    "DeleteTargetGroup": (["TargetGroupArn"], []),
    "DescribeTargetGroupAttributes": (["TargetGroupArn"], []),
    "ModifyTargetGroupAttributes": (["TargetGroupArn"], [rf"Attributes{LIST}\.(Key|Value)"]),
    "DescribeTargetHealth": (["TargetGroupArn"], []),
}
# The longest name of a target group.
LONGEST_NAME = 32


def check_elb(form):
    """Refuses what Elastic Load Balancing does not take."""
    action = form.get("Action")
    if action not in ELB or form.get("Version") != "2015-12-01":
        raise Refused("InvalidAction", f"Could not find operation {action} for version {form.get('Version')}")
    required, others = ELB[action]
    for name in required:
        if name not in form:
            raise Refused("ValidationError", f"{name} is required")
    known = re.compile("|".join(["Action", "Version", *map(re.escape, required), *others]))
    for name in form:
        if not known.fullmatch(name):
            raise Refused("ValidationError", f"{action} has no parameter {name}")
    if len(form.get("Name", "")) > LONGEST_NAME:
        raise Refused("ValidationError", f"a name has up to {LONGEST_NAME} characters")
