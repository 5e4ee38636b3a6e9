"""What the models of Amazon ECS share: listener rules, target groups, task definitions, pages, refusals.

Written from the two API references. Which of the two is asked is told by the host header.
"""

import json
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from aws_shapes import ECS, Refused, check_ecs, check_elb

NAMESPACE = "http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/"
ELB_ARN = "arn:aws:elasticloadbalancing:eu-west-1:123456789012"
ECS_ARN = "arn:aws:ecs:eu-west-1:123456789012"
# For users, and for what is tried out.
BALANCER = f"{ELB_ARN}:loadbalancer/app/main/1"
LISTENERS = (f"{ELB_ARN}:listener/app/main/1/1", f"{ELB_ARN}:listener/app/main/1/2")


# How a target group checks its targets, with the defaults of one that checks by HTTP.
CHECK = {"HealthCheckPath": "/", "HealthCheckIntervalSeconds": "30", "HealthCheckTimeoutSeconds": "5",
         "HealthyThresholdCount": "5", "UnhealthyThresholdCount": "2"}
CODES = {"Matcher.HttpCode": "200"}


def members(form, at):
    """The items of a list of the Query protocol."""
    found, n = [], 1
    while any(key == f"{at}.member.{n}" or key.startswith(f"{at}.member.{n}.") for key in form):
        found.append(f"{at}.member.{n}")
        n += 1
    return found


class Aws:
    """ECS without its services, and Elastic Load Balancing."""

    def __init__(self):
        self.services, self.definitions, self.groups, self.rules, self.tokens = {}, [], {}, {}, {}
        self.made = {"service": 0, "definition": 0, "group": 0, "rule": 0}
        self.violations = []
        self.number = 0

    def next(self):
        self.number += 1
        return self.number

    def passes(self, now):
        """It is `now`, in milliseconds."""

    # -- ECS -------------------------------------------------------------------------------------------------------------

    def ecs(self, action, body):
        check_ecs(action, body)
        if "cluster" in ECS[action] and body.get("cluster") != "main":
            raise Refused("ClusterNotFoundException", "Cluster not found.")
        return getattr(self, "ecs_" + action)(body)

    def page(self, items, key, body):
        start = int(body.get("nextToken") or 0)
        end = start + min(body.get("maxResults") or 10, 2)  # short pages: nobody may take the first for the whole
        answer = {key: items[start:end]}
        if end < len(items):
            answer["nextToken"] = str(end)
        return answer

    def made_before(self, body):
        """The service that was made with this token, if there is one. With other parameters the token is refused."""
        token, wanted = body.get("clientToken"), json.dumps(body, sort_keys=True)
        if token not in self.tokens:
            return None
        name, made_of = self.tokens[token]
        if made_of != wanted:
            raise Refused("InvalidParameterException", "Creation of service was not idempotent.")
        return self.services[name]

    def make(self, body, service):
        """Makes a service, of which there may be none of the name yet."""
        name = body["serviceName"]
        there = self.services.get(name)
        if there and there["status"] != "INACTIVE":
            raise Refused("InvalidParameterException", "Creation of service was not idempotent.")
        if "clientToken" in body:
            self.tokens[body["clientToken"]] = (name, json.dumps(body, sort_keys=True))
        self.made["service"] += 1
        self.services[name] = {"serviceArn": f"{ECS_ARN}:service/main/{name}", "serviceName": name, "status": "ACTIVE", **service}
        return self.services[name]

    @staticmethod
    def placed(body):
        """What a request says of where tasks run, and of how long they may take to start."""
        names = ("launchType", "networkConfiguration", "capacityProviderStrategy", "healthCheckGracePeriodSeconds")
        return {name: body[name] for name in names if name in body}

    def definition(self, arn):
        found = [of for of in self.definitions if of["taskDefinitionArn"] == arn]
        if not found:
            raise Refused("ClientException", "Unable to describe task definition.")
        return found[0]

    def ecs_RegisterTaskDefinition(self, body):
        # It has no idempotency token: the same once more is another revision of the family, of the same content. What counts
        # is what is different; all of them go with the revision.
        self.made["definition"] += not any(all(of.get(key) == value for key, value in body.items()) for of in self.definitions)
        number = 1 + sum(of["family"] == body["family"] for of in self.definitions)
        arn = f"{ECS_ARN}:task-definition/{body['family']}:{number}"
        made = {**body, "taskDefinitionArn": arn, "revision": number, "status": "ACTIVE"}
        self.definitions.append(made)
        return {"taskDefinition": made, "tags": made.get("tags", [])}

    def ecs_DeregisterTaskDefinition(self, body):
        found = self.definition(body["taskDefinition"])
        if found["status"] == "ACTIVE":  # one that is being deleted stays so
            found["status"] = "INACTIVE"
        return {"taskDefinition": found}

    def ecs_DeleteTaskDefinitions(self, body):
        # What is being deleted is described until nothing uses it any more, and its number is never given out again.
        deleted, failures = [], []
        for arn in body["taskDefinitions"]:
            found = next((of for of in self.definitions if of["taskDefinitionArn"] == arn), None)
            if found is None:
                failures.append({"arn": arn, "reason": "The specified task definition does not exist."})
            elif found["status"] == "ACTIVE":
                failures.append({"arn": arn, "reason": "The specified task definition is still in ACTIVE status."})
            else:
                found["status"] = "DELETE_IN_PROGRESS"
                deleted.append(found)
        return {"taskDefinitions": deleted, "failures": failures}

    def ecs_DescribeTaskDefinition(self, body):
        found = self.definition(body["taskDefinition"])
        return {"taskDefinition": found, "tags": found.get("tags", [])}

    def ecs_ListTaskDefinitions(self, body):
        arns = [of["taskDefinitionArn"] for of in self.definitions
                if of["family"] == body["familyPrefix"] and of["status"] == body["status"]]
        return self.page(arns[::-1] if body.get("sort") == "DESC" else arns, "taskDefinitionArns", body)

    # -- Elastic Load Balancing ------------------------------------------------------------------------------------------

    def elb(self, form):
        check_elb(form)
        return getattr(self, "elb_" + form["Action"])(form)

    def rule_xml(self, arn, rule):
        conditions = "".join(
            f"<member><Field>{field}</Field><{config}>"
            + (f"<HttpHeaderName>{escape(header)}</HttpHeaderName>" if header else "")
            + f"<Values>{''.join(f'<member>{escape(value)}</member>' for value in values)}</Values></{config}></member>"
            for field, config, header, values in rule["conditions"])
        targets = "".join(f"<member><TargetGroupArn>{target}</TargetGroupArn><Weight>{weight}</Weight></member>"
                          for target, weight in rule["targets"])
        forward = f"<ForwardConfig><TargetGroups>{targets}</TargetGroups></ForwardConfig>" if targets else ""
        return (f"<member><RuleArn>{arn}</RuleArn><Priority>{rule['priority']}</Priority><Conditions>{conditions}</Conditions>"
                f"<Actions><member><Type>{rule['type']}</Type>{forward}</member></Actions></member>")

    def read_rule(self, form, rule):
        if members(form, "Conditions"):
            rule["conditions"] = []
            for at in members(form, "Conditions"):
                field = form[f"{at}.Field"]
                config = {"host-header": "HostHeaderConfig", "http-header": "HttpHeaderConfig"}.get(field, "PathPatternConfig")
                values = [form[key] for key in members(form, f"{at}.{config}.Values")]
                rule["conditions"].append((field, config, form.get(f"{at}.{config}.HttpHeaderName"), values))
        if not members(form, "Actions"):  # what is left out stays as it is
            return
        rule["type"] = form["Actions.member.1.Type"]
        rule["targets"] = []
        for at in members(form, "Actions.member.1.ForwardConfig.TargetGroups"):
            arn, weight = form[f"{at}.TargetGroupArn"], int(form[f"{at}.Weight"])
            if not 0 <= weight <= 999:
                raise Refused("ValidationError", "the weight is out of range")
            if not any(arn == group["arn"] for group in self.groups.values()):
                raise Refused("TargetGroupNotFound", "One or more target groups not found")
            rule["targets"].append((arn, weight))
        self.led(rule)

    def led(self, rule):
        """A rule was told where to lead requests: what is wrong about it is a violation."""

    def tasks_behind(self, arn):
        """How many tasks a target group has."""
        raise NotImplementedError

    def elb_DescribeRules(self, form):
        rules = sorted(self.rules.items(), key=lambda pair: pair[1]["priority"])
        listener = form.get("ListenerArn")
        wanted = [form[key] for key in members(form, "RuleArns")]
        if wanted:
            rules = [(arn, rule) for arn, rule in rules if arn in wanted]
            if not rules:
                raise Refused("RuleNotFound", "One or more rules not found")
        elif listener not in LISTENERS:
            raise Refused("ListenerNotFound", "One or more listeners not found")
        else:
            rules = [(arn, rule) for arn, rule in rules if rule["listener"] == listener]
        start = int(form.get("Marker") or 0)
        some = "".join(self.rule_xml(arn, rule) for arn, rule in rules[start:start + 2])
        more = f"<NextMarker>{start + 2}</NextMarker>" if start + 2 < len(rules) else ""
        return f"<Rules>{some}</Rules>{more}"

    def elb_DescribeTags(self, form):
        arns = [form[key] for key in members(form, "ResourceArns")]
        if not 1 <= len(arns) <= 20:
            raise Refused("ValidationError", "1 to 20 resources")
        described = ""
        for arn in arns:
            if arn not in self.rules:
                raise Refused("RuleNotFound", "One or more rules not found")
            tags = "".join(f"<member><Key>{escape(key)}</Key><Value>{escape(value)}</Value></member>"
                           for key, value in self.rules[arn]["tags"])
            described += f"<member><ResourceArn>{arn}</ResourceArn><Tags>{tags}</Tags></member>"
        return f"<TagDescriptions>{described}</TagDescriptions>"

    def elb_CreateRule(self, form):
        priority, listener = int(form["Priority"]), form["ListenerArn"]
        if listener not in LISTENERS:
            raise Refused("ListenerNotFound", "One or more listeners not found")
        if any(rule["priority"] == priority and rule["listener"] == listener for rule in self.rules.values()):
            raise Refused("PriorityInUse", "The specified priority is in use.")
        tags = [(form[f"{at}.Key"], form[f"{at}.Value"]) for at in members(form, "Tags")]
        # A rule of one revision alone is no traffic of users.
        rule = {"listener": listener, "priority": priority, "tags": tags, "conditions": [],
                "weighs": "basb-host:revision" not in dict(tags)}
        self.read_rule(form, rule)
        self.made["rule"] += 1
        arn = f"{listener.replace(':listener/', ':listener-rule/')}/{self.next()}"
        self.rules[arn] = rule
        return f"<Rules>{self.rule_xml(arn, rule)}</Rules>"

    def elb_ModifyRule(self, form):
        if form["RuleArn"] not in self.rules:
            raise Refused("RuleNotFound", "One or more rules not found")
        self.read_rule(form, self.rules[form["RuleArn"]])
        return ""

    def elb_DeleteRule(self, form):
        if self.rules.pop(form["RuleArn"], None) is None:
            raise Refused("RuleNotFound", "One or more rules not found")
        return ""

    def group_xml(self, name, group):
        return (f"<member><TargetGroupArn>{group['arn']}</TargetGroupArn><TargetGroupName>{name}</TargetGroupName>"
                f"<VpcId>{group['vpc']}</VpcId><Protocol>HTTP</Protocol><Port>{group['port']}</Port>"
                f"<TargetType>{group['type']}</TargetType>"
                + "".join(f"<{key}>{escape(group[key])}</{key}>" for key in CHECK)
                + f"<Matcher><HttpCode>{group['Matcher.HttpCode']}</HttpCode></Matcher>{self.balancer_of(group)}</member>")

    def balancer_of(self, group):
        used = any(arn == group["arn"] for rule in self.rules.values() for arn, _ in rule["targets"])
        return f"<LoadBalancerArns><member>{BALANCER}</member></LoadBalancerArns>" if used else ""

    def read_check(self, form, group):
        """What is left out stays as it is; of a new group it is AWS's default."""
        check = {key: form.get(key, group.get(key, default)) for key, default in {**CHECK, **CODES}.items()}
        interval, timeout = int(check["HealthCheckIntervalSeconds"]), int(check["HealthCheckTimeoutSeconds"])
        if not (5 <= interval <= 300 and 2 <= timeout <= 120 and timeout < interval):
            raise Refused("ValidationError", "Health check timeout must be smaller than the interval")
        group.update(check)

    def elb_CreateTargetGroup(self, form):
        name, settings = form["Name"], (form["VpcId"], form["Port"], form["TargetType"])
        there = self.groups.get(name)
        if there and (there["vpc"], there["port"], there["type"]) != settings:
            raise Refused("DuplicateTargetGroupName", "A target group with the same name exists, but with different settings")
        if there:
            return f"<TargetGroups>{self.group_xml(name, there)}</TargetGroups>"
        group = {"arn": f"{ELB_ARN}:targetgroup/{name}/{self.next()}",
                 "vpc": form["VpcId"], "port": form["Port"], "type": form["TargetType"], "drain": "300"}
        self.read_check(form, group)
        self.made["group"] += 1
        self.groups[name] = group
        return f"<TargetGroups>{self.group_xml(name, self.groups[name])}</TargetGroups>"

    def elb_ModifyTargetGroup(self, form):
        name, group = self.group(form)
        self.read_check(form, group)
        return f"<TargetGroups>{self.group_xml(name, group)}</TargetGroups>"

    def elb_DescribeTargetGroups(self, form):
        if "TargetGroupArns.member.1" in form:
            name, group = self.group({"TargetGroupArn": form["TargetGroupArns.member.1"]})
            return f"<TargetGroups>{self.group_xml(name, group)}</TargetGroups>"
        name = form["Names.member.1"]
        if name not in self.groups:
            raise Refused("TargetGroupNotFound", "One or more target groups not found")
        return f"<TargetGroups>{self.group_xml(name, self.groups[name])}</TargetGroups>"

    def elb_DescribeListeners(self, form):
        if form.get("LoadBalancerArn") != BALANCER:
            raise Refused("LoadBalancerNotFound", "Load balancer not found")
        return "<Listeners>" + "".join(f"<member><ListenerArn>{arn}</ListenerArn></member>" for arn in LISTENERS) + "</Listeners>"

    def group(self, form):
        for name, group in self.groups.items():
            if group["arn"] == form["TargetGroupArn"]:
                return name, group
        raise Refused("TargetGroupNotFound", "One or more target groups not found")

    def elb_DeleteTargetGroup(self, form):
        try:
            name, group = self.group(form)
        except Refused:
            return ""
        if any(arn == group["arn"] for rule in self.rules.values() for arn, _ in rule["targets"]):
            raise Refused("ResourceInUse", "Target group is currently in use by a listener or a rule")
        del self.groups[name]
        return ""

    def elb_DescribeTargetGroupAttributes(self, form):
        return ("<Attributes><member><Key>deregistration_delay.timeout_seconds</Key>"
                f"<Value>{self.group(form)[1]['drain']}</Value></member></Attributes>")

    def elb_ModifyTargetGroupAttributes(self, form):
        self.group(form)[1]["drain"] = form["Attributes.member.1.Value"]
        return ""

    def elb_DescribeTargetHealth(self, form):
        self.group(form)
        health = "<TargetHealth><State>healthy</State></TargetHealth>"
        targets = "".join(f"<member><Target><Id>10.0.0.{n}</Id></Target>{health}</member>"
                          for n in range(self.tasks_behind(form["TargetGroupArn"])))
        return f"<TargetHealthDescriptions>{targets}</TargetHealthDescriptions>"

    # -- the kit ---------------------------------------------------------------------------------------------------------

    def balancers(self):
        """What is there but for the services, without what is numbered."""
        names = {group["arn"]: name for name, group in self.groups.items()}
        rules = sorted([LISTENERS.index(rule["listener"]), sorted(map(list, rule["tags"])), rule["type"],
                        [[names[arn], weight] for arn, weight in rule["targets"]], [list(of) for of in rule["conditions"]]]
                       for rule in self.rules.values())
        # One that is deregistered and not deleted is left behind: it can be read.
        families = sorted({of["family"] for of in self.definitions if of["status"] != "DELETE_IN_PROGRESS"})
        kept = ("drain", *CHECK, *CODES)
        groups = {name: [group[key] for key in kept] for name, group in self.groups.items()}
        return {"rules": rules, "groups": groups, "families": families}


def respond(world, _method, _url, headers, body):
    world.passes(int(headers.get("x-kit-now") or 0))
    is_ecs = headers.get("host", "").startswith("ecs.")
    try:
        if is_ecs:
            return 200, {}, world.ecs(headers["x-amz-target"].rsplit(".", 1)[-1], json.loads(body))
        form = dict(parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=True))
        action = form["Action"]
        text = (f'<{action}Response xmlns="{NAMESPACE}"><{action}Result>{world.elb(form)}</{action}Result>'
                f"<ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></{action}Response>")
        return 200, {"content-type": "text/xml"}, text
    except Refused as refused:
        if is_ecs:
            return refused.status, {}, {"__type": refused.code, "message": refused.message}
        text = (f'<ErrorResponse xmlns="{NAMESPACE}"><Error><Type>Sender</Type><Code>{refused.code}</Code>'
                f"<Message>{escape(refused.message)}</Message></Error><RequestId>r</RequestId></ErrorResponse>")
        return refused.status, {"content-type": "text/xml"}, text
