"""The agent and a container engine, as far as provider-docker asks them: a model for the conformance kit.

Which of the two is asked is told by the host header. One process, one thread: what is answered is what is there.
"""

import json
from urllib.parse import parse_qs, unquote

from kit_server import serve


class World:
    def __init__(self):
        self.service = None
        self.revisions = {}
        self.weights = {}
        self.version = 0
        self.containers = {}
        self.port = 15000
        self.clock = 0
        self.made = {"service": 0, "revision": 0, "container": 0}
        self.violations = []

    # -- the agent ---------------------------------------------------------------------------------------------------

    def available(self, name):
        container = self.containers.get(name)
        return container is not None and container["State"]["Status"] == "running"

    def shown(self, deployment):
        revisions = []
        for rid, revision in sorted(self.revisions.items()):
            instances = []
            for number, port in sorted(revision["instances"].items()):
                up = self.available(f"basb.{deployment}.{rid}.{number}")
                instances.append({"id": number, "port": port, "restarts": 0, "state": "available" if up else "starting"})
            revisions.append({
                "id": rid, "desired": revision["replicas"], "weight": self.weights.get(rid, 0), "external": True,
                "available": sum(1 for i in instances if i["state"] == "available"),
                "previewUrl": f"http://127.0.0.1/preview/{rid}", "workloadDigest": None, "retiring": False,
                "instances": instances,
            })
        return {"name": deployment, "listen": self.service, "url": f"http://{self.service}", "version": self.version,
                "message": None, "revisions": revisions}

    def agent(self, method, path, body):
        parts = path.strip("/").split("/")[2:]
        name, rest = parts[0], parts[1:]
        def error(status, code):
            return status, {"error": {"code": code, "message": code, "next": ""}}
        if method == "PUT" and not rest:
            self.made["service"] += self.service is None
            self.service = body["listen"]
            return 200, self.shown(name)
        if self.service is None:
            return error(404, "no-such-service")
        if method == "GET" and not rest:
            return 200, self.shown(name)
        if method == "DELETE" and not rest:
            self.service, self.revisions, self.weights = None, {}, {}
            return 202, {}
        if method == "PUT" and rest[0] == "traffic":
            for rid, weight in body["weights"].items():
                if weight and not any(self.available(f"basb.{name}.{rid}.{n}") for n in self.revisions[rid]["instances"]):
                    self.violations.append(f"traffic for {rid} without an instance")
                    return error(409, "no-available-instance")
            self.weights = {rid: weight for rid, weight in body["weights"].items() if weight}
            self.version += 1
            return 200, self.shown(name)
        rid = rest[1]
        if method == "DELETE":
            if self.weights.get(rid):
                self.violations.append(f"{rid} retired with traffic")
                return error(409, "revision-has-traffic")
            return (202 if self.revisions.pop(rid, None) else 200), self.shown(name)
        revision = self.revisions.get(rid)
        if revision is None:
            if "external" not in body:
                return error(404, "no-such-revision")
            self.made["revision"] += 1
            revision = self.revisions[rid] = {"instances": {}, "replicas": 0}
        revision["replicas"] = body["replicas"]
        told = body.get("external", {}).get("addresses", {})
        number = 0
        while len(revision["instances"]) < body["replicas"]:
            if number not in revision["instances"]:
                self.port += 1
                address = told.get(str(number))
                revision["instances"][number] = int(address.rsplit(":", 1)[1]) if address else self.port
            number += 1
        for number in sorted(revision["instances"])[body["replicas"]:]:
            del revision["instances"][number]
        return 200, self.shown(name)

    # -- the engine --------------------------------------------------------------------------------------------------

    def engine(self, method, path, query, body):
        self.clock += 1
        if path == "/_ping":
            return 200, "OK"
        parts = path.strip("/").split("/")[1:]
        if parts[0] == "images":
            return 200, {"Id": "sha256:1"}
        if parts == ["containers", "json"]:
            wanted = json.loads(query["filters"][0])["label"]
            fits = lambda c: all(c["Config"]["Labels"].get(l.split("=")[0]) == l.split("=", 1)[1] for l in wanted)
            return 200, [{"Names": ["/" + n], "Labels": c["Config"]["Labels"], "State": c["State"]["Status"]}
                         for n, c in sorted(self.containers.items()) if fits(c)]
        if parts == ["containers", "create"]:
            name = query["name"][0]
            if name in self.containers:
                return 409, {"message": "Conflict. The container name is already in use"}
            self.made["container"] += 1
            self.containers[name] = {"Config": body, "HostConfig": body["HostConfig"], "RestartCount": 0,
                                     "State": {"Status": "created", "FinishedAt": "", "ExitCode": 0, "OOMKilled": False}}
            return 201, {"Id": name, "Warnings": []}
        name = parts[1]
        container = self.containers.get(name)
        if container is None:
            return 404, {"message": f"No such container: {name}"}
        state = container["State"]
        if method == "DELETE":
            if state["Status"] == "running" and "force" not in query:
                return 409, {"message": f"You cannot remove a running container {name}. Stop the container before"}
            if state["Status"] == "running":
                self.violations.append(f"{name} was killed to remove it")
            del self.containers[name]
            return 204, None
        if parts[2] == "json":
            return 200, container
        if parts[2] == "logs":
            return 200, "nothing\n"
        wanted = {"start": "running", "stop": "exited"}[parts[2]]
        if state["Status"] == wanted:
            return 304, None
        state["Status"], state["FinishedAt"] = wanted, f"{self.clock:09}"
        return 204, None

    def state(self):
        containers = {n: c["State"]["Status"] for n, c in self.containers.items()}
        revisions = {r: sorted(v["instances"]) for r, v in self.revisions.items()}
        return {"there": {"listen": self.service, "revisions": revisions, "weights": self.weights, "containers": containers},
                "made": self.made, "violations": self.violations}


def respond(world, method, url, headers, body):
    host, path, body = headers.get("host", ""), unquote(url.path), json.loads(body or b"null")
    if host.startswith("agent."):
        status, answer = world.agent(method, path, body)
    elif host.startswith("docker."):
        status, answer = world.engine(method, path, parse_qs(url.query), body)
    else:
        status, answer = 200, {}
    return status, {"api-version": "1.41"}, answer


serve(World, respond)
