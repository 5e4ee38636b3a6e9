"""An API server, as far as provider-kubernetes asks it: a model for the conformance kit.

Written from the API reference: server-side apply with its managers, dry runs, preconditions, lists in pages. One process,
one thread: what is answered is what is there. What goes on (pods that come up, pods that end, Endpoints) has ended when it
was looked at twice. What the server would take and a provider must not do is a violation.
"""

import copy
import json
from urllib.parse import parse_qsl, unquote

from kit_server import serve

GATEWAY = "gateway.networking.k8s.io"
PATHS = {
    "deployments": "/apis/apps/v1/namespaces/kit/deployments",
    "services": "/api/v1/namespaces/kit/services",
    "pods": "/api/v1/namespaces/kit/pods",
    "endpoints": "/api/v1/namespaces/kit/endpoints",
    "httproutes": f"/apis/{GATEWAY}/v1/namespaces/kit/httproutes",
}
REVISION = "basb-host/revision"


class Refused(Exception):
    def __init__(self, code, reason, message, causes=()):
        super().__init__(message)
        self.code = code
        self.body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": message,
                     "details": {"causes": list(causes)}, "code": code}


def leaves(value, at=()):
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from leaves(inner, (*at, key))
    else:
        yield at, value


def put(thing, at, value):
    for key in at[:-1]:
        thing = thing.setdefault(key, {})
    thing[at[-1]] = value


def drop(thing, at):
    for key in at[:-1]:
        thing = thing.get(key, {})
    thing.pop(at[-1], None)


class World:
    def __init__(self):
        self.things, self.owners, self.number = {}, {}, 0
        self.made = {"deployment": 0, "service": 0, "route": 0}
        self.violations = []

    def next(self):
        self.number += 1
        return str(self.number)

    # -- what goes on ----------------------------------------------------------------------------------------------------

    def look(self):
        for key, thing in list(self.things.items()):
            if thing["left"] > 0:
                thing["left"] -= 1
            if thing["left"] == 0:
                self.settle(key)

    def settle(self, key):
        thing = self.things[key]
        if thing["going"]:
            self.things.pop(key)
            self.owners.pop(key, None)
        else:
            thing["seen"], thing["up"] = thing["generation"], thing["spec"].get("replicas", 1)

    def shown(self, kind, name):
        thing = self.things[kind, name]
        meta = {"name": name, "namespace": "kit", "uid": thing["uid"], "resourceVersion": thing["version"],
                "generation": thing["generation"], **thing["metadata"]}
        if thing["going"]:
            meta["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        shown = {"metadata": meta, "spec": thing["spec"]}
        if kind == "deployments":
            replicas = thing["spec"].get("replicas", 1)
            shown["status"] = {"observedGeneration": thing["seen"], "replicas": replicas, "updatedReplicas": replicas,
                               "availableReplicas": min(thing["up"], replicas), "conditions": []}
        if kind == "httproutes":
            conditions = [{"type": "Accepted", "status": "True", "reason": "Accepted", "message": "",
                           "observedGeneration": thing["seen"]}]
            shown["status"] = {"parents": [{"parentRef": {"name": "main"}, "controllerName": "x", "conditions": conditions}]}
        return copy.deepcopy(shown)

    def pods(self):
        for (kind, name), thing in sorted(self.things.items()):
            if kind == "deployments":
                for number in range(min(thing["up"], thing["spec"].get("replicas", 1))):
                    ready = [{"type": "Ready", "status": "False" if thing["going"] else "True"}]
                    yield {"metadata": {"name": f"{name}-{number}", "labels": thing["spec"]["template"]["metadata"]["labels"]},
                           "status": {"phase": "Running", "conditions": ready}}

    def endpoints(self, name):
        service = self.things.get(("services", name))
        if service is None:
            raise Refused(404, "NotFound", f'endpoints "{name}" not found')
        wanted = service["spec"]["selector"].items()
        behind = [pod["metadata"]["name"] for pod in self.pods() if wanted <= pod["metadata"]["labels"].items()]
        behind = behind if service["seen"] == service["generation"] else []
        return {"metadata": {"name": name}, "subsets": [{"addresses": [{"targetRef": {"name": pod}} for pod in behind]}]}

    # -- the API ---------------------------------------------------------------------------------------------------------

    def answer(self, verb, path, query, form, body):
        if path == f"/apis/{GATEWAY}":
            return {"kind": "APIGroup", "versions": [{"version": "v1"}]}
        for kind, prefix in PATHS.items():
            if path == prefix and verb == "GET":
                self.look()
                return self.list(kind, query)
            if path.startswith(prefix + "/"):
                name = path[len(prefix) + 1:]
                if verb == "GET":
                    self.look()
                    return self.endpoints(name) if kind == "endpoints" else self.get(kind, name)
                if verb == "PATCH" and form == "application/apply-patch+yaml":
                    return self.apply(kind, name, query, body)
                if verb == "DELETE":
                    return self.delete(kind, name, body)
        raise Refused(404, "NotFound", "the server could not find the requested resource")

    def get(self, kind, name):
        if (kind, name) not in self.things:
            raise Refused(404, "NotFound", f'{kind} "{name}" not found')
        return self.shown(kind, name)

    def list(self, kind, query):
        wanted = dict(pair.split("=", 1) for pair in query.get("labelSelector", "").split(",") if pair)
        all_of = list(self.pods()) if kind == "pods" else [
            self.shown(of, name) for of, name in sorted(self.things) if of == kind]
        found = [each for each in all_of if wanted.items() <= each["metadata"].get("labels", {}).items()]
        start = int(query.get("continue") or 0)  # short pages, whatever is asked for
        more = str(start + 2) if start + 2 < len(found) else ""
        return {"kind": "List", "metadata": {"continue": more}, "items": found[start:start + 2]}

    def apply(self, kind, name, query, body):
        dry, force, manager = query.get("dryRun") == "All", query["force"] == "true", query["fieldManager"]
        if body["metadata"]["name"] != name:
            raise Refused(400, "BadRequest", "the name of the object does not match the name in the URL")
        saved = copy.deepcopy((self.things, self.owners, self.made, self.number))
        try:
            self.write(kind, name, body, manager, force)
            if kind == "httproutes" and not dry:
                self.check(body)
            if kind == "deployments" and force and manager == "basb-host":
                self.violations.append("what others have set of a Deployment is taken")
            return self.shown(kind, name)
        finally:
            if dry:
                self.things, self.owners, self.made, self.number = saved

    def check(self, body):
        for backend in body["spec"]["rules"][0]["backendRefs"]:
            deployment = self.things.get(("deployments", backend["name"]))
            if backend["weight"] > 999:
                self.violations.append(f"a weight of {backend['weight']}, which not every load balancer takes")
            is_users = REVISION not in body["metadata"]["labels"]
            if is_users and backend["weight"] and (deployment is None or deployment["going"] or deployment["up"] == 0):
                self.violations.append(f"traffic for {backend['name']}, which has no pod")

    def write(self, kind, name, body, manager, force):
        key = (kind, name)
        wanted = {at: value for at, value in leaves({"metadata": body["metadata"], "spec": body.get("spec", {})})
                  if at not in (("metadata", "name"), ("metadata", "namespace"))}
        owners = self.owners.setdefault(key, {})
        taken = [(other, at) for other, theirs in owners.items() if other != manager
                 for at in wanted if at in theirs and theirs[at] != wanted[at]]
        if taken and not force:
            causes = [{"reason": "FieldManagerConflict", "message": f'conflict with "{other}"', "field": ".".join(at)}
                      for other, at in taken]
            raise Refused(409, "Conflict", f"Apply failed with {len(taken)} conflicts", causes)
        for other, at in taken:
            del owners[other][at]
        before, owners[manager] = owners.get(manager, {}), wanted
        if key not in self.things:
            self.made[{"deployments": "deployment", "services": "service", "httproutes": "route"}[kind]] += 1
            self.things[key] = {"uid": self.next(), "version": "", "generation": 0, "seen": 0, "up": 0, "left": 2,
                                "going": False, "metadata": {}, "spec": {}}
        thing = self.things[key]
        old = copy.deepcopy((thing["metadata"], thing["spec"]))
        kept = {at for theirs in owners.values() for at in theirs}
        for at in before:
            if at not in kept:
                drop(thing, at)
        for at, value in wanted.items():
            put(thing, at, value)
        if thing["spec"] != old[1]:
            thing["generation"] += 1
            thing["left"] = 2
        if (thing["metadata"], thing["spec"]) != old or not thing["version"]:
            thing["version"] = self.next()

    def delete(self, kind, name, body):
        shown = self.get(kind, name)
        conditions = (body or {}).get("preconditions") or {}
        if not conditions.get("uid") or not conditions.get("resourceVersion"):
            self.violations.append("a removal of whatever has the name")
        if any(conditions.get(key) not in (None, shown["metadata"][key]) for key in ("uid", "resourceVersion")):
            raise Refused(409, "Conflict", "the precondition does not hold")
        thing = self.things[kind, name]
        if kind == "deployments":
            thing["going"], thing["left"] = True, 2
        else:
            self.things.pop((kind, name))
            self.owners.pop((kind, name), None)
        return {"kind": "Status", "status": "Success"}

    # -- the kit ---------------------------------------------------------------------------------------------------------

    def drift(self, _which):
        """Somebody leads users to another Service, and to other pods."""
        for (kind, name), thing in self.things.items():
            if REVISION in thing["metadata"]["labels"]:
                continue
            body = {"metadata": {"name": name}, "spec": copy.deepcopy(thing["spec"])}
            if kind == "httproutes":
                body["spec"]["rules"][0]["backendRefs"] = [{"kind": "Service", "name": "by-hand", "port": 80, "weight": 1}]
            else:
                body["spec"]["selector"][REVISION] = "by-hand"
            self.write(kind, name, body, "kubectl", True)

    def state(self):
        for key in list(self.things):
            self.settle(key)
        there = {f"{kind} {name}": [thing["spec"], thing["metadata"]] for (kind, name), thing in self.things.items()}
        return {"there": there, "made": self.made, "violations": self.violations}


def respond(world, method, url, headers, body):
    try:
        if headers.get("authorization") != "Bearer kit-token-of-nobody":
            raise Refused(401, "Unauthorized", "Unauthorized")
        query, form = dict(parse_qsl(url.query, keep_blank_values=True)), headers.get("content-type", "")
        return 200, {}, world.answer(method, unquote(url.path), query, form, json.loads(body or b"null"))
    except Refused as refused:
        return refused.code, {}, refused.body


serve(World, respond)
