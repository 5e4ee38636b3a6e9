"""Amazon ECS and Elastic Load Balancing, as far as provider-aws asks them: a model for the conformance kit.

Written from the two API references. Which of the two is asked is told by the host header. One process, one thread: what is
answered is what is there. Tasks run at once; a service that is removed drains until it was looked at once.
"""

import json
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from kit_server import serve

NAMESPACE = "http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/"
LISTENER = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:listener/app/main/1/1"


class Refused(Exception):
    def __init__(self, code, message, status=400):
        super().__init__(message)
        self.code, self.message, self.status = code, message, status


def members(form, at):
    """The items of a list of the Query protocol."""
    found, n = [], 1
    while any(key == f"{at}.member.{n}" or key.startswith(f"{at}.member.{n}.") for key in form):
        found.append(f"{at}.member.{n}")
        n += 1
    return found


class World:
    def __init__(self):
        self.services, self.definitions, self.groups, self.rules, self.tokens = {}, [], {}, {}, {}
        self.made = {"service": 0, "definition": 0, "group": 0, "rule": 0}
        self.violations = []
        self.number = 0

    def next(self):
        self.number += 1
        return self.number

    # -- ECS -------------------------------------------------------------------------------------------------------------

    def ecs(self, action, body):
        if action.endswith(("Services", "Service", "Tasks")) and body.get("cluster") != "main":
            raise Refused("ClusterNotFoundException", "Cluster not found.")
        return getattr(self, "ecs_" + action)(body)

    def live(self, name):
        service = self.services.get(name.rsplit("/", 1)[-1])
        return service if service and service["status"] == "ACTIVE" else None

    def ecs_ListServices(self, body):
        return self.page([s["serviceArn"] for s in self.services.values() if s["status"] != "INACTIVE"], "serviceArns", body)

    def page(self, items, key, body):
        start = int(body.get("nextToken") or 0)
        end = start + min(body.get("maxResults") or 10, 2)  # short pages: nobody may take the first for the whole
        answer = {key: items[start:end]}
        if end < len(items):
            answer["nextToken"] = str(end)
        return answer

    def ecs_DescribeServices(self, body):
        if not 1 <= len(body["services"]) <= 10:
            raise Refused("InvalidParameterException", "1 to 10 services")
        found = []
        for name in body["services"]:
            service = self.services.get(name.rsplit("/", 1)[-1])
            if service is None:
                continue
            found.append(dict(service))
            if service["status"] == "DRAINING":
                service["status"], service["runningCount"] = "INACTIVE", 0
        return {"services": found, "failures": []}

    def ecs_CreateService(self, body):
        token, name = body["clientToken"], body["serviceName"]
        if token in self.tokens:
            return {"service": dict(self.services[self.tokens[token]])}
        there = self.services.get(name)
        if there and there["status"] != "INACTIVE":
            raise Refused("InvalidParameterException", "Creation of service was not idempotent.")
        self.definition(body["taskDefinition"])
        for place in body["loadBalancers"]:
            if not any(place["targetGroupArn"] == group["arn"] for group in self.groups.values()):
                raise Refused("InvalidParameterException", "The target group does not exist.")
        self.tokens[token] = name
        self.made["service"] += 1
        self.services[name] = {
            "serviceArn": f"arn:aws:ecs:eu-west-1:123456789012:service/main/{name}", "serviceName": name, "status": "ACTIVE",
            "desiredCount": body["desiredCount"], "runningCount": body["desiredCount"], "pendingCount": 0,
            "taskDefinition": body["taskDefinition"], "loadBalancers": body["loadBalancers"], "tags": body["tags"],
            "deployments": [{"status": "PRIMARY", "rolloutState": "COMPLETED", "failedTasks": 0}], "events": [],
        }
        return {"service": dict(self.services[name])}

    def ecs_UpdateService(self, body):
        service = self.live(body["service"])
        if service is None:
            raise Refused("ServiceNotActiveException", "Service was not ACTIVE.")
        if "taskDefinition" in body:
            self.definition(body["taskDefinition"])
            service["taskDefinition"] = body["taskDefinition"]
        if "desiredCount" in body:
            service["desiredCount"] = service["runningCount"] = body["desiredCount"]
        return {"service": dict(service)}

    def ecs_DeleteService(self, body):
        service = self.live(body["service"])
        if service is None:
            raise Refused("ServiceNotFoundException", "Service not found.")
        for place in service["loadBalancers"]:
            if self.weight(place["targetGroupArn"]):
                self.violations.append(f"{service['serviceName']} was removed with traffic")
        service["status"], service["desiredCount"] = "DRAINING", 0
        return {"service": dict(service)}

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
        arn = f"arn:aws:ecs:eu-west-1:123456789012:task-definition/{body['family']}:{number}"
        made = {**body, "taskDefinitionArn": arn, "revision": number, "status": "ACTIVE"}
        self.definitions.append(made)
        return {"taskDefinition": made, "tags": made.get("tags", [])}

    def ecs_DeregisterTaskDefinition(self, body):
        self.definition(body["taskDefinition"])["status"] = "INACTIVE"
        return {"taskDefinition": self.definition(body["taskDefinition"])}

    def ecs_DescribeTaskDefinition(self, body):
        found = self.definition(body["taskDefinition"])
        return {"taskDefinition": found, "tags": found.get("tags", [])}

    def ecs_ListTaskDefinitions(self, body):
        arns = [of["taskDefinitionArn"] for of in self.definitions
                if of["family"] == body["familyPrefix"] and of["status"] == body["status"]]
        return self.page(arns[::-1] if body.get("sort") == "DESC" else arns, "taskDefinitionArns", body)

    def ecs_ListTasks(self, body):
        service = self.services.get(body["serviceName"])
        count = service["runningCount"] if service and body["desiredStatus"] == "RUNNING" else 0
        return self.page([f"arn:aws:ecs:eu-west-1:123456789012:task/main/{body['serviceName']}-{n}" for n in range(count)],
                         "taskArns", body)

    def ecs_DescribeTasks(self, body):
        return {"tasks": [{"taskArn": arn, "lastStatus": "RUNNING", "healthStatus": "UNKNOWN", "containers": []}
                          for arn in body["tasks"]]}

    # -- Elastic Load Balancing ------------------------------------------------------------------------------------------

    def elb(self, form):
        if form.get("Version") != "2015-12-01":
            raise Refused("InvalidAction", "Could not find operation for version")
        return getattr(self, "elb_" + form["Action"])(form)

    def weight(self, group):
        return sum(weight for rule in self.rules.values() if rule["weighs"] for arn, weight in rule["targets"] if arn == group)

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
        rule["type"] = form["Actions.member.1.Type"]
        rule["targets"] = []
        for at in members(form, "Actions.member.1.ForwardConfig.TargetGroups"):
            arn, weight = form[f"{at}.TargetGroupArn"], int(form[f"{at}.Weight"])
            if not 0 <= weight <= 999:
                raise Refused("ValidationError", "the weight is out of range")
            if not any(arn == group["arn"] for group in self.groups.values()):
                raise Refused("TargetGroupNotFound", "One or more target groups not found")
            if weight and rule["weighs"] and not self.tasks_behind(arn):
                self.violations.append(f"traffic for {arn}, behind which nothing runs")
            rule["targets"].append((arn, weight))

    def tasks_behind(self, arn):
        return sum(service["runningCount"] for service in self.services.values() if service["status"] == "ACTIVE"
                   and any(place["targetGroupArn"] == arn for place in service["loadBalancers"]))

    def elb_DescribeRules(self, form):
        rules = sorted(self.rules.items(), key=lambda pair: pair[1]["priority"])
        wanted = [form[key] for key in members(form, "RuleArns")]
        if wanted:
            rules = [(arn, rule) for arn, rule in rules if arn in wanted]
            if not rules:
                raise Refused("RuleNotFound", "One or more rules not found")
        elif form["ListenerArn"] != LISTENER:
            raise Refused("ListenerNotFound", "One or more listeners not found")
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
        priority = int(form["Priority"])
        if any(rule["priority"] == priority for rule in self.rules.values()):
            raise Refused("PriorityInUse", "The specified priority is in use.")
        tags = [(form[f"{at}.Key"], form[f"{at}.Value"]) for at in members(form, "Tags")]
        # A rule of one revision alone is no traffic of users.
        rule = {"priority": priority, "tags": tags, "conditions": [], "weighs": "basb-host:revision" not in dict(tags)}
        self.read_rule(form, rule)
        self.made["rule"] += 1
        arn = f"{LISTENER.replace(':listener/', ':listener-rule/')}/{self.next()}"
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
                f"<TargetType>{group['type']}</TargetType></member>")

    def elb_CreateTargetGroup(self, form):
        name, settings = form["Name"], (form["VpcId"], form["Port"], form["TargetType"])
        there = self.groups.get(name)
        if there and (there["vpc"], there["port"], there["type"]) != settings:
            raise Refused("DuplicateTargetGroupName", "A target group with the same name exists, but with different settings")
        if there:
            return f"<TargetGroups>{self.group_xml(name, there)}</TargetGroups>"
        self.made["group"] += 1
        self.groups[name] = {"arn": f"arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/{name}/{self.next()}",
                             "vpc": form["VpcId"], "port": form["Port"], "type": form["TargetType"], "drain": "300"}
        return f"<TargetGroups>{self.group_xml(name, self.groups[name])}</TargetGroups>"

    def elb_DescribeTargetGroups(self, form):
        name = form["Names.member.1"]
        if name not in self.groups:
            raise Refused("TargetGroupNotFound", "One or more target groups not found")
        return f"<TargetGroups>{self.group_xml(name, self.groups[name])}</TargetGroups>"

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
        targets = "".join(f"<member><Target><Id>10.0.0.{n}</Id></Target><TargetHealth><State>healthy</State></TargetHealth></member>"
                          for n in range(self.tasks_behind(form["TargetGroupArn"])))
        return f"<TargetHealthDescriptions>{targets}</TargetHealthDescriptions>"

    # -- the kit ---------------------------------------------------------------------------------------------------------

    def drift(self, revision):
        """Somebody gives a revision another number of tasks."""
        for name, service in self.services.items():
            if name.endswith(f"-{revision}") and service["status"] == "ACTIVE":
                service["desiredCount"] = service["runningCount"] = 5

    def state(self):
        names = {group["arn"]: name for name, group in self.groups.items()}
        # What drains is gone by itself after a while.
        services = {name: [s["desiredCount"], s["runningCount"]] for name, s in self.services.items() if s["status"] == "ACTIVE"}
        rules = sorted([sorted(map(list, rule["tags"])), rule["type"], [[names[arn], weight] for arn, weight in rule["targets"]],
                        [list(of) for of in rule["conditions"]]] for rule in self.rules.values())
        families = sorted({of["family"] for of in self.definitions if of["status"] == "ACTIVE"})
        groups = {name: group["drain"] for name, group in self.groups.items()}
        return {"there": {"services": services, "rules": rules, "groups": groups, "families": families},
                "made": self.made, "violations": self.violations}


def respond(world, _method, _url, headers, body):
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


serve(World, respond)
