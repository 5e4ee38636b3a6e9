"""Amazon ECS and Elastic Load Balancing, as far as provider-aws asks them: a model for the conformance kit.

One process, one thread: what is answered is what is there. Tasks run at once; a service that is removed drains until it was
looked at once.
"""

from aws_shapes import Refused
from aws_world import ECS_ARN, Aws, respond
from kit_server import serve


class World(Aws):
    def live(self, name):
        service = self.services.get(name.rsplit("/", 1)[-1])
        return service if service and service["status"] == "ACTIVE" else None

    def ecs_ListServices(self, body):
        return self.page([s["serviceArn"] for s in self.services.values() if s["status"] != "INACTIVE"], "serviceArns", body)

    def ecs_DescribeServices(self, body):
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
        before = self.made_before(body)
        if before is not None:
            return {"service": dict(before)}
        self.definition(body["taskDefinition"])
        for place in body["loadBalancers"]:
            if not any(place["targetGroupArn"] == group["arn"] for group in self.groups.values()):
                raise Refused("InvalidParameterException", "The target group does not exist.")
        return {"service": dict(self.make(body, {
            "desiredCount": body["desiredCount"], "runningCount": body["desiredCount"], "pendingCount": 0,
            "taskDefinition": body["taskDefinition"], "loadBalancers": body["loadBalancers"], "tags": body["tags"],
            "deployments": [{"status": "PRIMARY", "rolloutState": "COMPLETED", "failedTasks": 0}], "events": [],
            **self.placed(body),
        }))}

    def ecs_UpdateService(self, body):
        service = self.live(body["service"])
        if service is None:
            raise Refused("ServiceNotActiveException", "Service was not ACTIVE.")
        if "taskDefinition" in body:
            self.definition(body["taskDefinition"])
            service["taskDefinition"] = body["taskDefinition"]
        if "desiredCount" in body:
            service["desiredCount"] = service["runningCount"] = body["desiredCount"]
        service.update(self.placed(body))
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

    def ecs_ListTasks(self, body):
        service = self.services.get(body["serviceName"])
        count = service["runningCount"] if service and body["desiredStatus"] == "RUNNING" else 0
        return self.page([f"{ECS_ARN}:task/main/{body['serviceName']}-{n}" for n in range(count)],
                         "taskArns", body)

    def ecs_DescribeTasks(self, body):
        return {"tasks": [{"taskArn": arn, "lastStatus": "RUNNING", "healthStatus": "UNKNOWN", "containers": []}
                          for arn in body["tasks"]]}

    # -- Elastic Load Balancing ------------------------------------------------------------------------------------------

    def weight(self, group):
        return sum(weight for rule in self.rules.values() if rule["weighs"] for arn, weight in rule["targets"] if arn == group)

    def led(self, rule):
        for arn, weight in rule["targets"]:
            if weight and rule["weighs"] and not self.tasks_behind(arn):
                self.violations.append(f"traffic for {arn}, behind which nothing runs")

    def tasks_behind(self, arn):
        return sum(service["runningCount"] for service in self.services.values() if service["status"] == "ACTIVE"
                   and any(place["targetGroupArn"] == arn for place in service["loadBalancers"]))

    # -- the kit ---------------------------------------------------------------------------------------------------------

    def drift(self, revision):
        """Somebody gives a revision another number of tasks."""
        for name, service in self.services.items():
            if name.endswith(f"-{revision}") and service["status"] == "ACTIVE":
                service["desiredCount"] = service["runningCount"] = 5

    def state(self):
        # What drains is gone by itself after a while.
        services = {name: [s["desiredCount"], s["runningCount"]] for name, s in self.services.items() if s["status"] == "ACTIVE"}
        return {"there": {"services": services, **self.balancers()}, "made": self.made, "violations": self.violations}


serve(World, respond)
