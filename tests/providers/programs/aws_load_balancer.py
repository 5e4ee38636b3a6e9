"""Stands in for what neither emulator does: registers the tasks of ECS services (MiniStack's) in their target groups
(moto's), and shares requests out by the weights of the listener's rules (moto's).

It is a second client, on boto3, and knows nothing of basb-host: it goes by rules, target groups and ECS services only.
A target group whose service's container port answers on this machine is led to; any other one is answered for here: with
200, or with 500 below /work where the task's variable RELEASE is 3.

    aws_load_balancer.py MOTO MINISTACK KEY SECRET LISTENER PREVIEWS PORT=HOST... PREVIEW_PORT=+HOST...
"""
import http.client
import json
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3

moto, ministack, key, secret, listener, previews = sys.argv[1:7]
hosts = dict(pair.split("=") for pair in sys.argv[7:])
with_keys = {"region_name": "eu-west-1", "aws_access_key_id": key, "aws_secret_access_key": secret}
elb = boto3.client("elbv2", endpoint_url=moto, **with_keys)
ecs = boto3.client("ecs", endpoint_url=ministack, **with_keys)
backends, rules, credits, lock = {}, {}, {}, threading.Lock()


def answers(port):
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        connection.request("GET", "/healthz")
        return connection.getresponse().status < 400
    except OSError:
        return False


def look():
    seen, arns = {}, []
    for page in ecs.get_paginator("list_services").paginate(cluster="main"):
        arns += page["serviceArns"]
    for n in range(0, len(arns), 10):
        for service in ecs.describe_services(cluster="main", services=arns[n:n + 10])["services"]:
            if service["status"] == "INACTIVE":
                continue
            definition = ecs.describe_task_definition(taskDefinition=service["taskDefinition"])["taskDefinition"]
            container = definition["containerDefinitions"][0]
            env = {pair["name"]: pair["value"] for pair in container.get("environment", [])}
            port = container["portMappings"][0]["containerPort"]
            real = env.get("REAL") == "yes"
            up = service["runningCount"] if not real or answers(port) else 0
            for place in service.get("loadBalancers", []):
                seen[place["targetGroupArn"]] = {
                    "port": port if real else None, "release": env.get("RELEASE"), "up": up, "service": service["serviceName"],
                }
    for group, backend in seen.items():
        try:
            there = elb.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
            ids = [target["Target"]["Id"] for target in there]
            wanted = [f"10.0.0.{n + 1}" for n in range(backend["up"])]
            for call, which in ((elb.register_targets, set(wanted) - set(ids)), (elb.deregister_targets, set(ids) - set(wanted))):
                if which:
                    call(TargetGroupArn=group, Targets=[{"Id": one, "Port": 8080} for one in sorted(which)])
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


class Balancer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def serve(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        host = hosts[str(self.server.server_port)]
        backend = choose(host, self.headers)
        if backend is None or not backend["up"]:
            # What was changed a moment ago is not seen yet: only what is so after another look is so.
            look()
            backend = choose(host, self.headers)
        if backend is None or not backend["up"]:
            return self.say(503, [], b"no target")
        if backend["port"] is None:
            broken = backend["release"] == "3" and self.path.startswith("/work")
            text = json.dumps({"service": backend["service"], "release": backend["release"]}).encode()
            return self.say(500 if broken else 200, [("content-type", "application/json")], text)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")}
        headers["host"] = f"127.0.0.1:{backend['port']}"
        try:
            connection = http.client.HTTPConnection("127.0.0.1", backend["port"], timeout=30)
            connection.request(self.command, self.path, body, headers)
            response = connection.getresponse()
            kept = [(name, value) for name, value in response.getheaders()
                    if name.lower() not in ("transfer-encoding", "content-length", "connection")]
            self.say(response.status, kept, response.read())
        except (OSError, http.client.HTTPException) as error:
            self.say(502, [], str(error).encode())

    def say(self, status, headers, body):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_DELETE = do_PUT = serve

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    address_family = socket.AF_INET


def look_again():
    while True:
        try:
            look()
        except Exception as error:  # the counterparts are busy, or being stopped
            print(error, flush=True)
        time.sleep(0.2)


look()
threading.Thread(target=look_again, daemon=True).start()
servers = [Server(("127.0.0.1", int(port)), Balancer) for port in hosts]
for server in servers[1:]:
    threading.Thread(target=server.serve_forever, daemon=True).start()
servers[0].serve_forever()
