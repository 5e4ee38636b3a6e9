"""Stands in for what neither emulator does: registers the tasks of ECS services (MiniStack's) in their target groups
(moto's), and shares requests out by the weights of the listener's rules (moto's).

It is a second client, on boto3, and knows nothing of basb-host: it goes by rules, target groups and ECS services only. With
ENGINE, the socket of the engine that MiniStack runs containers on, requests go to those. Without one (an empty word) it runs
the tasks too: an image that IMAGES, a JSON object, has words for is one process of this machine, with the container's command;
any other one is answered for here: with 200, or with 500 below /work where the task's variable RELEASE is 3.

SHARED says who shares requests out: `us`, or `emulator`, where what stands in moto's place (fakecloud) checks the tasks and
leads requests itself. Then this only says by which name each port is called.

    aws_load_balancer.py MOTO MINISTACK KEY SECRET LISTENER PREVIEWS IMAGES ENGINE SHARED PORT=HOST... PREVIEW_PORT=+HOST...
"""
import functools
import itertools
import json
import sys
import threading
import time
import urllib.request
from types import SimpleNamespace

import boto3

from aws_tasks import Tasks
from data_plane import DataPlane, Front, Passing

moto, ministack, key, secret, listener, previews, images, engine, shared = sys.argv[1:10]
hosts = dict(pair.split("=") for pair in sys.argv[10:])
plane = DataPlane(json.loads(images))
with_keys = {"region_name": "eu-west-1", "aws_access_key_id": key, "aws_secret_access_key": secret}
elb = boto3.client("elbv2", endpoint_url=moto, **with_keys)
ecs = boto3.client("ecs", endpoint_url=ministack, **with_keys)
tasks = Tasks(engine, ecs) if engine else None
backends, rules, credits, turns, lock = {}, {}, {}, itertools.count(), threading.Lock()


@functools.cache
def definition_of(arn):
    return ecs.describe_task_definition(taskDefinition=arn)["taskDefinition"]


@functools.cache
def check_of(group):
    """The path that a target group's targets are asked for, and the answers that are well."""
    group = elb.describe_target_groups(TargetGroupArns=[group])["TargetGroups"][0]
    first, last = group["Matcher"]["HttpCode"].split("-")
    return group["HealthCheckPath"], range(int(first), int(last) + 1)


def process_of(service, container, env):
    """The one process behind a service's tasks, and the addresses that it stands for."""
    name, up = service["serviceName"], service["runningCount"]
    if container["image"] in plane.commands and up:
        plane.start(name, container["image"], container.get("command", []), env)
        up = up if plane.state(name)[0] == "ready" else 0
    return [plane.processes.get(name)], [(f"10.0.0.{n + 1}", 8080) for n in range(up)]


def look():
    seen, arns = {}, []
    if tasks:
        tasks.look()
    for page in ecs.get_paginator("list_services").paginate(cluster="main"):
        arns += page["serviceArns"]
    for n in range(0, len(arns), 10):
        for service in ecs.describe_services(cluster="main", services=arns[n:n + 10])["services"]:
            if service["status"] == "INACTIVE":
                continue
            container = definition_of(service["taskDefinition"])["containerDefinitions"][0]
            env = {pair["name"]: pair["value"] for pair in container.get("environment", [])}
            for place in service.get("loadBalancers", []):
                group = place["targetGroupArn"]
                if tasks:
                    well = tasks.healthy(service["serviceName"], place["containerPort"], *check_of(group))
                    processes, addresses = well, [(task.address, 8080) for task in well]
                    if shared == "emulator":
                        # It looks for itself who is well, where a task has its relay.
                        every = tasks.services.get(service["serviceName"], [])
                        addresses = [("127.0.0.1", task.port) for task in every]
                else:
                    processes, addresses = process_of(service, container, env)
                seen[group] = {
                    "processes": processes, "addresses": addresses, "up": len(addresses), "release": env.get("RELEASE"),
                    "service": service["serviceName"],
                }
    for group, backend in seen.items():
        try:
            there = elb.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
            known = {(target["Target"]["Id"], target["Target"]["Port"]) for target in there
                     if target["TargetHealth"]["State"] != "draining"}
            wanted = set(backend["addresses"])
            for call, which in ((elb.register_targets, wanted - known), (elb.deregister_targets, known - wanted)):
                if which:
                    call(TargetGroupArn=group, Targets=[{"Id": one, "Port": port} for one, port in sorted(which)])
        except elb.exceptions.TargetGroupNotFoundException:
            pass
    found = {}
    for one in (listener, previews):
        all_rules = [rule for page in elb.get_paginator("describe_rules").paginate(ListenerArn=one) for rule in page["Rules"]]
        found[one] = sorted(all_rules, key=lambda rule: 99999 if rule["Priority"] == "default" else int(rule["Priority"]))
    with lock:
        backends.clear()
        backends.update(seen)
        rules.clear()
        rules.update(found)
    # Nobody is led there any more.
    for name in set(plane.processes) - {backend["service"] for backend in seen.values()}:
        plane.end(name)


def matches(rule, host, headers):
    for condition in rule["Conditions"]:
        if condition["Field"] == "host-header" and host not in condition["HostHeaderConfig"]["Values"]:
            return False
        if condition["Field"] == "http-header":
            config = condition["HttpHeaderConfig"]
            if headers.get(config["HttpHeaderName"]) not in config["Values"]:
                return False
    return rule["Priority"] != "default"


def choose(host, headers):
    with lock:
        of_listener = rules[previews if host.startswith("+") else listener]
        rule = next((rule for rule in of_listener if matches(rule, host.lstrip("+"), headers)), None)
        if rule is None or rule["Actions"][-1]["Type"] != "forward":
            return None
        targets = [(of["TargetGroupArn"], of["Weight"]) for of in rule["Actions"][-1]["ForwardConfig"]["TargetGroups"]]
        total = sum(weight for _, weight in targets)
        for arn, weight in targets:
            credits[arn] = credits.get(arn, 0) + weight
        arn = max(targets, key=lambda of: credits[of[0]] if of[1] else -1)[0]
        credits[arn] -= total
        return backends.get(arn)


@functools.cache
def front_of(which):
    """Where the emulator takes the requests of a listener's load balancer."""
    balancer = elb.describe_listeners(ListenerArns=[which])["Listeners"][0]["LoadBalancerArn"]
    while True:
        with urllib.request.urlopen(f"{moto.rstrip('/')}/_fakecloud/elbv2/load-balancers", timeout=30) as answer:
            all_of = json.load(answer)["loadBalancers"]
        port = next(of["boundPort"] for of in all_of if of["arn"] == balancer)
        if port:
            return SimpleNamespace(port=port)
        time.sleep(0.1)


class Balancer(Passing):
    def balanced(self):
        host = hosts[str(self.server.server_port)]
        if shared == "emulator":
            self.headers.replace_header("Host", host.lstrip("+"))
            return self.exchange(front_of(previews if host.startswith("+") else listener))
        backend = choose(host, self.headers)
        if backend is None or not backend["up"]:
            # What was changed a moment ago is not seen yet: only what is so after another look is so.
            look()
            backend = choose(host, self.headers)
        if backend is None or not backend["up"]:
            self.close_connection = True
            return self.say(503, b"no target")
        process = backend["processes"][next(turns) % len(backend["processes"])]
        if process is not None:
            process.count(1)
            try:
                return self.exchange(process)
            finally:
                process.count(-1)
        self.rfile.read(int(self.headers.get("content-length") or 0))
        broken = backend["release"] == "3" and self.path.startswith("/work")
        text = json.dumps({"service": backend["service"], "release": backend["release"]}).encode()
        self.say(500 if broken else 200, text)

    do_GET = do_POST = do_DELETE = do_PUT = balanced


def look_again():
    while True:
        try:
            look()
        except Exception as error:  # the counterparts are busy, or being stopped
            print(error, flush=True)
        time.sleep(0.2)


look()
threading.Thread(target=look_again, daemon=True).start()
servers = [Front(("127.0.0.1", int(port)), Balancer) for port in hosts]
for server in servers[1:]:
    threading.Thread(target=server.serve_forever, daemon=True).start()
servers[0].serve_forever()
