"""Amazon ECS where it shifts the traffic itself: services with a pair of target groups, deployments with pauses.

One process, one thread: what is answered is what is there, by the kit's clock. A service that is removed drains for some
seconds, and its deployments go with it.
"""

import copy

from aws_deployments import SECOND, Deployment, check_configuration
from aws_shapes import Refused
from aws_world import ECS_ARN, Aws, respond
from kit_server import serve

DRAINS = 3 * SECOND
# Longer than whatever goes on by itself takes, and shorter than the time that a pause waits.
AFTER_A_WHILE = 600 * SECOND


class World(Aws):
    def __init__(self):
        super().__init__()
        self.made["deployment"] = 0
        self.now = 0
        # All that ever were: a revision by its ARN, a deployment by its ARN.
        self.revisions, self.deployments = {}, {}

    def passes(self, now):
        self.now = max(now, self.now)
        for service in self.services.values():
            if service["status"] == "DRAINING" and service["gone"] <= self.now:
                service["status"] = "INACTIVE"
                for arn in service["deployments"]:
                    del self.deployments[arn]
                service["deployments"] = []
            for arn in service["deployments"]:
                deployment = self.deployments[arn]
                was = deployment.is_under_way()
                deployment.passes(self.now)
                if was and service["status"] == "ACTIVE":
                    self.follows(service, deployment)

    def follows(self, service, deployment):
        """What a service and its rule are while a deployment goes on, and by its end."""
        serves, back = deployment.target, deployment.rollback is not None
        if back and deployment.source:
            serves = deployment.source
        if back or not deployment.is_under_way():
            service["taskDefinition"] = self.revisions[serves]["taskDefinition"]
        if not deployment.is_under_way():
            service["serves"] = serves
        rule = self.rules.get(service["loadBalancers"][0]["advancedConfiguration"]["productionListenerRule"])
        if rule and rule["type"] == "forward":
            groups = {self.revisions[deployment.target]["group"]: deployment.share}
            if deployment.source:
                groups[self.revisions[deployment.source]["group"]] = 100.0 - deployment.share
            rule["targets"] = [(arn, min(999, round(groups.get(arn, 0.0) * 10))) for arn, _ in rule["targets"]]

    # -- services --------------------------------------------------------------------------------------------------------

    def service(self, name):
        service = self.services.get(name.rsplit("/", 1)[-1])
        if service is None or service["status"] == "INACTIVE":
            raise Refused("ServiceNotFoundException", "Service not found.")
        return service

    def current(self, service):
        """The deployment that is under way, if there is one."""
        newest = service["deployments"][-1:]
        return next((self.deployments[arn] for arn in newest if self.deployments[arn].is_under_way()), None)

    def running(self, service):
        """How many tasks of each revision run."""
        if service["status"] != "ACTIVE":
            return {}
        deployment, count = self.current(service), service["desiredCount"]
        if deployment is None:
            return {service["serves"]: count}
        up = {deployment.target: count if deployment.is_up() else 0}
        return {**up, deployment.source: count} if deployment.source else up

    def shown(self, service):
        shown = {key: value for key, value in service.items() if key not in ("deployments", "serves", "gone")}
        drains = service["status"] == "DRAINING"
        running = 1 if drains else sum(self.running(service).values())
        return copy.deepcopy({**shown, "runningCount": running, "pendingCount": 0, "deployments": [], "events": []})

    def begin(self, service):
        """Begins a deployment of what the service says now."""
        under_way = self.current(service)
        if under_way:
            self.violations.append("a deployment was begun while another was under way")
            under_way.replaced(self.now)
            service["serves"] = under_way.source
        place, source = service["loadBalancers"][0], service["serves"]
        pair = [place["targetGroupArn"], place["advancedConfiguration"]["alternateTargetGroupArn"]]
        taken = self.revisions[source]["group"] if source else None
        number = self.next()
        revision = f"{ECS_ARN}:service-revision/main/{service['serviceName']}/{number}"
        self.revisions[revision] = {
            "serviceRevisionArn": revision, "serviceArn": service["serviceArn"], "taskDefinition": service["taskDefinition"],
            "loadBalancers": service["loadBalancers"], "group": next(arn for arn in pair if arn != taken)}
        arn = f"{ECS_ARN}:service-deployment/main/{service['serviceName']}/{number}"
        # A deployment that went back leaves nothing: the same once more is not made twice.
        gone_back = [self.deployments[arn].target for arn in service["deployments"] if self.deployments[arn].rollback]
        again = any(self.revisions[arn]["taskDefinition"] == service["taskDefinition"] for arn in gone_back)
        self.made["deployment"] += not again
        self.deployments[arn] = Deployment(arn, revision, source, service["deploymentConfiguration"], self.now)
        service["deployments"].append(arn)
        self.follows(service, self.deployments[arn])

    def check_place(self, places):
        """Refuses what ECS cannot shift traffic by: it needs two target groups, and a rule that leads to both."""
        def refuse_unless(right, why):
            if not right:
                raise Refused("InvalidParameterException", f"loadBalancers: {why}")

        refuse_unless(len(places) == 1, "one load balancer")
        advanced = places[0].get("advancedConfiguration", {})
        refuse_unless("roleArn" in advanced, "a role is needed")
        pair = [places[0].get("targetGroupArn"), advanced.get("alternateTargetGroupArn")]
        known = [group["arn"] for group in self.groups.values()]
        refuse_unless(len(set(pair)) == 2 and all(arn in known for arn in pair), "two target groups are needed")
        for name in ("productionListenerRule", "testListenerRule"):
            if name in advanced or name == "productionListenerRule":
                rule = self.rules.get(advanced.get(name))
                leads = {arn for arn, _ in rule["targets"]} if rule else set()
                refuse_unless(leads == set(pair), f"{name} leads to other target groups")

    def ecs_ListServices(self, body):
        return self.page([s["serviceArn"] for s in self.services.values() if s["status"] == "ACTIVE"], "serviceArns", body)

    def ecs_DescribeServices(self, body):
        names = {name: self.services.get(name.rsplit("/", 1)[-1]) for name in body["services"]}
        missing = [{"arn": name, "reason": "MISSING"} for name, service in names.items() if service is None]
        return {"services": [self.shown(service) for service in names.values() if service], "failures": missing}

    def ecs_CreateService(self, body):
        before = self.made_before(body)
        if before is not None:
            return {"service": self.shown(before)}
        self.definition(body["taskDefinition"])
        check_configuration(body["deploymentConfiguration"])
        self.check_place(body["loadBalancers"])
        kept = ("desiredCount", "taskDefinition", "loadBalancers", "deploymentConfiguration", "deploymentController", "tags")
        service = self.make(body, {"deployments": [], "serves": None, **{name: body[name] for name in kept}, **self.placed(body)})
        self.begin(service)
        return {"service": self.shown(service)}

    def ecs_UpdateService(self, body):
        service = self.service(body["service"])
        if service["status"] != "ACTIVE":
            raise Refused("ServiceNotActiveException", "Service was not ACTIVE.")
        change = {name: body[name] for name in body if name not in ("cluster", "service", "forceNewDeployment")}
        if "taskDefinition" in change and self.definition(change["taskDefinition"])["status"] != "ACTIVE":
            raise Refused("ClientException", "TaskDefinition is inactive")
        check_configuration(change.get("deploymentConfiguration", service["deploymentConfiguration"]))
        self.check_place(change.get("loadBalancers", service["loadBalancers"]))
        begins = body.get("forceNewDeployment") or any(
            name in change and change[name] != service.get(name)
            for name in ("taskDefinition", "loadBalancers", "networkConfiguration"))
        service.update(change)
        if begins:
            self.begin(service)
        return {"service": self.shown(service)}

    def ecs_DeleteService(self, body):
        service = self.service(body["service"])
        if not body.get("force") and service["desiredCount"]:
            raise Refused("InvalidParameterException", "The service cannot be stopped while it is scaled above 0.")
        rule = self.rules.get(service["loadBalancers"][0]["advancedConfiguration"]["productionListenerRule"])
        if rule and any(weight for _, weight in rule["targets"]):
            self.violations.append(f"{service['serviceName']} was removed with traffic")
        if service["status"] == "ACTIVE":
            service.update(status="DRAINING", desiredCount=0, gone=self.now + DRAINS)
        return {"service": self.shown(service)}

    def ecs_ListTasks(self, body):
        service = self.service(body["serviceName"])
        running = self.running(service) if body.get("desiredStatus", "RUNNING") == "RUNNING" else {}
        return self.page([f"{ECS_ARN}:task/main/{revision.rsplit('/', 1)[-1]}-{n}"
                          for revision, count in running.items() for n in range(count)], "taskArns", body)

    def ecs_DescribeTasks(self, body):
        def task(arn):
            number = arn.rsplit("/", 1)[-1].split("-")[0]
            definition = next(of["taskDefinition"] for name, of in self.revisions.items() if name.endswith(f"/{number}"))
            return {"taskArn": arn, "lastStatus": "RUNNING", "healthStatus": "UNKNOWN", "containers": [],
                    "taskDefinitionArn": definition}

        return {"tasks": [task(arn) for arn in body["tasks"]], "failures": []}

    # -- deployments -----------------------------------------------------------------------------------------------------

    def ecs_ListServiceDeployments(self, body):
        # The guide names no order.
        arns = self.service(body["service"])["deployments"]
        shown = [self.deployments[arn].brief() for arn in [*arns[1::2], *arns[::2]]]
        wanted = [one for one in shown if one["status"] in body.get("status", [one["status"]])]
        return self.page(wanted, "serviceDeployments", body)

    def described(self, arns, known, key, shown):
        missing = [{"arn": arn, "reason": "MISSING"} for arn in arns if arn not in known]
        return {key: [shown(known[arn]) for arn in arns if arn in known], "failures": missing}

    def ecs_DescribeServiceDeployments(self, body):
        def shown(deployment):
            service = next(s for s in self.services.values() if deployment.arn in s["deployments"])
            running = self.running(service)
            sides = {arn: {"requestedTaskCount": service["desiredCount"], "runningTaskCount": running.get(arn, 0),
                           "pendingTaskCount": 0} for arn in (deployment.target, deployment.source)}
            return deployment.shown(sides)

        return self.described(body["serviceDeploymentArns"], self.deployments, "serviceDeployments", shown)

    def ecs_DescribeServiceRevisions(self, body):
        def shown(revision):
            return {name: value for name, value in revision.items() if name != "group"}

        return self.described(body["serviceRevisionArns"], self.revisions, "serviceRevisions", shown)

    def deployment(self, arn):
        if arn not in self.deployments:
            raise Refused("ServiceDeploymentNotFoundException", "Service deployment not found.")
        return self.deployments[arn]

    def ecs_ContinueServiceDeployment(self, body):
        self.deployment(body["serviceDeploymentArn"]).answer(body["hookId"], body.get("action", "CONTINUE"), self.now)
        return {"serviceDeploymentArn": body["serviceDeploymentArn"]}

    def ecs_StopServiceDeployment(self, body):
        if body.get("stopType", "ROLLBACK") != "ROLLBACK":
            raise Refused("InvalidParameterException", "stopType: ROLLBACK")
        self.deployment(body["serviceDeploymentArn"]).go_back("StopServiceDeployment asked for it", self.now)
        return {"serviceDeploymentArn": body["serviceDeploymentArn"]}

    # -- Elastic Load Balancing ------------------------------------------------------------------------------------------

    def elb_ModifyRule(self, form):
        for service in self.services.values():
            ours = service["loadBalancers"][0]["advancedConfiguration"]["productionListenerRule"] == form["RuleArn"]
            deployment = self.current(service)
            if ours and deployment and deployment.source:
                self.violations.append("the rule was changed while ECS shifts traffic by it")
        return super().elb_ModifyRule(form)

    def tasks_behind(self, arn):
        running = [pair for service in self.services.values() for pair in self.running(service).items()]
        return sum(count for revision, count in running if self.revisions[revision]["group"] == arn)

    # -- the kit ---------------------------------------------------------------------------------------------------------

    def drift(self, _which):
        """Somebody gives the service another number of tasks."""
        for service in self.services.values():
            if service["status"] == "ACTIVE":
                service["desiredCount"] = 5

    def state(self):
        # What goes on by itself is over after a while; a pause is not.
        later = copy.deepcopy(self)
        later.passes(self.now + AFTER_A_WHILE)
        services = {}
        for name, service in later.services.items():
            if service["status"] != "ACTIVE":
                continue
            deployment = later.current(service)
            under_way = [deployment.status, deployment.stage, deployment.share] if deployment else None
            running = {later.revisions[arn]["taskDefinition"].rsplit("/", 1)[-1].rsplit(":", 1)[0]: count
                       for arn, count in later.running(service).items()}
            services[name] = {"desired": service["desiredCount"], "running": running, "underWay": under_way}
        return {"there": {"services": services, **later.balancers()}, "made": self.made, "violations": self.violations}


serve(World, respond)
