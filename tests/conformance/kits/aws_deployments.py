"""A deployment that Amazon ECS drives itself: its stages, its pauses, and its way back.

Written from the developer guide's pages on lifecycle hooks, pauses, and stopping and continuing a deployment. It goes on by
the kit's clock. What the guide does not say is chosen so that a plugin gets nothing for free: each stage takes its time, the
first deployment of a service has the same stages and pauses as any other, and there is nothing that it could go back to.
"""

from aws_shapes import Refused

SECOND, MINUTE = 1_000, 60_000
# How long a stage takes, and how long tasks take to come up.
STAGE, SCALE_UP = 50, 700
BEFORE_SHIFTS = ("PRE_SCALE_UP", "SCALE_UP", "POST_SCALE_UP", "TEST_TRAFFIC_SHIFT", "POST_TEST_TRAFFIC_SHIFT")
AFTER_SHIFTS = ("POST_PRODUCTION_TRAFFIC_SHIFT", "BAKE_TIME", "CLEAN_UP")
# Stages that a way back goes through too, so nothing can pause there.
NO_PAUSE = {"TEST_TRAFFIC_SHIFT", "PRODUCTION_TRAFFIC_SHIFT"}
UNDER_WAY = {"PENDING", "IN_PROGRESS", "STOP_REQUESTED", "ROLLBACK_REQUESTED", "ROLLBACK_IN_PROGRESS"}
OWN_CONFIGURATION = {"CANARY": "canaryConfiguration", "LINEAR": "linearConfiguration"}


def check_configuration(configuration):
    """Refuses a `deploymentConfiguration` that ECS does not take."""
    strategy = configuration.get("strategy", "ROLLING")

    def refuse_unless(right, why):
        if not right:
            raise Refused("InvalidParameterException", f"deploymentConfiguration: {why}")

    for of, name in OWN_CONFIGURATION.items():
        refuse_unless(name not in configuration or strategy == of, f"{name} is for {of}")
    refuse_unless("deploymentCircuitBreaker" not in configuration or strategy == "ROLLING", "the circuit breaker is for ROLLING")
    refuse_unless(strategy != "BLUE_GREEN" or "bakeTimeInMinutes" in configuration, "BLUE_GREEN needs bakeTimeInMinutes")
    refuse_unless(0 <= configuration.get("bakeTimeInMinutes", 0) <= 1_440, "bakeTimeInMinutes: 0 to 1440")
    percent, least = step_of(configuration)[0], 3.0 if strategy == "LINEAR" else 0.1
    tenths = percent * 10
    refuse_unless(least <= percent <= 100 and abs(tenths - round(tenths)) < 1e-6, f"multiples of 0.1 from {least} to 100")
    refuse_unless(0 <= step_of(configuration)[1] <= 1_440, "a bake time of 0 to 1440 minutes")
    for hook in configuration.get("lifecycleHooks", []):
        if hook.get("targetType") != "PAUSE":
            raise Refused("InvalidParameterException", "this model has pauses only")
        refuse_unless(hook["lifecycleStages"] and not NO_PAUSE & set(hook["lifecycleStages"]), "no pause at this stage")
        refuse_unless("hookTargetArn" not in hook and "roleArn" not in hook, "a pause has no target")
        minutes = hook.get("timeoutConfiguration", {}).get("timeoutInMinutes", 1_440)
        refuse_unless(1 <= minutes <= 20_160, "timeoutInMinutes: 1 to 20160")


def step_of(configuration):
    """How many percent one shift is, and how many minutes pass after it."""
    canary, linear = (configuration.get(name, {}) for name in OWN_CONFIGURATION.values())
    return {
        "CANARY": (canary.get("canaryPercent", 5.0), canary.get("canaryBakeTimeInMinutes", 10)),
        "LINEAR": (linear.get("stepPercent", 10.0), linear.get("stepBakeTimeInMinutes", 6)),
    }.get(configuration.get("strategy"), (100.0, 0))


def shares_of(configuration):
    """What the candidate has after each shift."""
    percent = step_of(configuration)[0]
    if configuration.get("strategy") != "LINEAR":
        return [percent, 100.0] if percent < 100 else [100.0]
    shares = [round(percent * step, 1) for step in range(1, int(100 / percent) + 1)]
    return shares if shares[-1] >= 100 else [*shares, 100.0]


class Deployment:
    def __init__(self, arn, target, source, configuration, now):
        self.arn, self.target, self.source, self.configuration = arn, target, source, configuration
        self.created = self.updated = now
        self.status, self.stage, self.reason, self.rollback = "PENDING", None, None, None
        self.share, self.hooks = 0.0, []
        shifts = [stage for share in shares_of(configuration)
                  for stage in (("PRE_PRODUCTION_TRAFFIC_SHIFT", None), ("PRODUCTION_TRAFFIC_SHIFT", share))]
        self.left = [*((stage, None) for stage in BEFORE_SHIFTS), *shifts, *((stage, None) for stage in AFTER_SHIFTS)]
        # When it goes on by itself; none while it is paused, and once it has ended.
        self.due = now + STAGE

    def is_under_way(self):
        return self.status in UNDER_WAY

    def is_up(self):
        """Whether the candidate's tasks run."""
        return self.stage not in (None, "PRE_SCALE_UP", "SCALE_UP")

    def pauses(self):
        return [hook for hook in self.hooks if hook["status"] == "AWAITING_ACTION"]

    def passes(self, now):
        """What happens by itself until then."""
        while True:
            times = [self.due] if self.due is not None else [hook["expires"] for hook in self.pauses()]
            if not times or min(times) > now:
                return
            self.updated = min(times)
            if self.due is not None:
                self.goes_on()
            else:
                hook = self.pauses()[0]
                hook["status"] = "TIMED_OUT"
                self.answered(hook["action"], "a lifecycle hook timed out")

    def goes_on(self):
        now, self.due = self.due, self.due + STAGE
        if self.status == "ROLLBACK_REQUESTED":
            self.status, self.share = "ROLLBACK_IN_PROGRESS", 0.0
            self.rollback["startedAt"] = now / SECOND
        elif self.status == "ROLLBACK_IN_PROGRESS":
            self.status, self.due = "ROLLBACK_SUCCESSFUL" if self.source else "ROLLBACK_FAILED", None
        elif not self.left:
            self.status, self.due = "SUCCESSFUL", None
        else:
            self.status = "IN_PROGRESS"
            (self.stage, share), *self.left = self.left
            if share is not None:
                self.share = share
                if share < 100:
                    self.due += step_of(self.configuration)[1] * MINUTE
            if self.stage == "SCALE_UP":
                self.due = now + SCALE_UP
            if self.stage == "BAKE_TIME":
                self.due += self.configuration.get("bakeTimeInMinutes", 0) * MINUTE
            for hook in self.configuration.get("lifecycleHooks", []):
                if self.stage in hook["lifecycleStages"]:
                    self.pause(hook.get("timeoutConfiguration", {}), now)

    def pause(self, timeout, now):
        self.due = None
        self.hooks.append({
            "id": f"ecs-pause-{self.arn.rsplit('/', 1)[-1]}-{len(self.hooks) + 1}", "status": "AWAITING_ACTION",
            "expires": now + timeout.get("timeoutInMinutes", 1_440) * MINUTE, "action": timeout.get("action", "ROLLBACK"),
        })

    def answer(self, hook_id, action, now):
        """`ContinueServiceDeployment`."""
        hook = next((hook for hook in self.pauses() if hook["id"] == hook_id), None)
        if hook is None or self.status != "IN_PROGRESS":
            raise Refused("InvalidParameterException", f"The hook {hook_id} is not awaiting action.")
        self.updated = now
        hook["status"] = "SUCCEEDED"
        self.answered(action, "ContinueServiceDeployment asked for it")

    def answered(self, action, why):
        if action == "ROLLBACK":
            self.go_back(why, self.updated)
        elif not self.pauses():
            self.due = self.updated + STAGE

    def go_back(self, why, now):
        """`StopServiceDeployment`, and whatever else leads back. What goes back already goes on to do so."""
        if not self.is_under_way():
            raise Refused("ConflictException", f"The service deployment is {self.status} and cannot be stopped.")
        if self.rollback is None:
            self.rollback = {"reason": why, "serviceRevisionArn": self.source}
            self.status, self.reason, self.updated, self.due = "ROLLBACK_REQUESTED", why, now, now + STAGE
            if self.source is None:
                del self.rollback["serviceRevisionArn"]
                self.reason = f"{why}; no rollback candidate was found"

    def replaced(self, now):
        """Another deployment begins."""
        self.status, self.reason, self.updated, self.due = "STOPPED", "another deployment has begun", now, None

    def brief(self):
        shown = {"serviceDeploymentArn": self.arn, "createdAt": self.created / SECOND, "status": self.status,
                 "targetServiceRevisionArn": self.target}
        return {**shown, "statusReason": self.reason} if self.reason else shown

    def shown(self, sides):
        """As it is described; `sides` are the counts of its revisions by their ARN."""
        weights = {self.target: self.share, self.source: 100.0 - self.share}

        def side(arn):
            return {"arn": arn, **sides[arn], "requestedProductionTrafficWeight": weights[arn]}

        shown = {
            "serviceDeploymentArn": self.arn, "createdAt": self.created / SECOND, "updatedAt": self.updated / SECOND,
            "status": self.status, "deploymentConfiguration": self.configuration, "targetServiceRevision": side(self.target),
            "sourceServiceRevisions": [side(self.source)] if self.source else [],
            "lifecycleHookDetails": [
                {"hookId": hook["id"], "targetType": "PAUSE", "status": hook["status"], "timeoutAction": hook["action"],
                 "expiresAt": hook["expires"] / SECOND} for hook in self.hooks],
        }
        more = {"lifecycleStage": self.stage, "statusReason": self.reason, "rollback": self.rollback}
        return {**shown, **{name: value for name, value in more.items() if value is not None}}
