"""Cloud Run, as far as provider-gcp asks it: a model for the conformance kit.

Written from the reference of its Admin API v2. One process, one thread: what is answered is what is there. What goes on has
ended when it was looked at twice. What the API would take and a provider must not do is a violation.
"""

import copy
import json
import re
from urllib.parse import parse_qsl, unquote

from kit_server import serve

PARENT = "projects/my-project/locations/europe-west3"
BY_REVISION = "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION"
READY, WORKING = "CONDITION_SUCCEEDED", "CONDITION_RECONCILING"


class Refused(Exception):
    def __init__(self, code, status, message):
        super().__init__(message)
        self.code = code
        self.body = {"error": {"code": code, "status": status, "message": message, "details": []}}


def short(name):
    return name.rsplit("/", 1)[-1]


class World:
    def __init__(self):
        self.services, self.revisions, self.operations = {}, {}, {}
        self.made = {"service": 0, "revision": 0}
        self.violations = []
        self.number = self.looks = 0

    def next(self):
        self.number += 1
        return self.number

    # -- what goes on ----------------------------------------------------------------------------------------------------

    def look(self):
        self.looks += 1
        if self.looks >= 2:
            self.settle()

    def settle(self):
        for revision in self.revisions.values():
            if revision["conditions"][0]["state"] != READY:
                revision["conditions"] = [{"type": "Ready", "state": READY}]
                self.services[revision["service"]]["latestReadyRevision"] = revision["name"]
        for service in self.services.values():
            if service["reconciling"]:
                service["latestReadyRevision"] = service["latestCreatedRevision"]
                service["reconciling"], service["observedGeneration"] = False, service["generation"]
                service["terminalCondition"] = {"type": "Ready", "state": READY}
                tagged = lambda target: {"uri": f"https://{target['tag']}---capture.example"} if target.get("tag") else {}
                service["trafficStatuses"] = [{**target, **tagged(target)} for target in service["traffic"]]
        for operation in self.operations.values():
            operation["done"] = True

    def operation(self):
        name = f"{PARENT}/operations/{self.next()}"
        self.operations[name] = {"name": name, "done": False}
        self.looks = 0
        return dict(self.operations[name])

    # -- the API ---------------------------------------------------------------------------------------------------------

    def answer(self, verb, path, query, body):
        if path.startswith(f"{PARENT}/operations/"):
            self.look()
            return self.found(self.operations, path)
        if path == f"{PARENT}/services" and verb == "POST":
            return self.create(f"{path}/{query['serviceId']}", query, body)
        match = re.fullmatch(f"({PARENT}/services/[^/]+)(/revisions)?(/[^/]+)?", path)
        if match is None:
            raise Refused(404, "NOT_FOUND", f"{verb} {path}")
        name, revisions, one = match.groups()
        if verb == "GET":
            self.look()
        if revisions is None:
            return {"GET": self.get, "PATCH": self.patch, "DELETE": self.delete}[verb](name, query, body)
        return self.list(name, query) if one is None else self.delete_revision(path)

    def found(self, kind, name):
        if name not in kind:
            raise Refused(404, "NOT_FOUND", f"Resource '{short(name)}' was not found.")
        return kind[name]

    def get(self, name, _query, _body):
        return self.found(self.services, name)

    def list(self, name, query):
        names = sorted(key for key in self.revisions if key.startswith(f"{name}/"))
        start = int(query.get("pageToken") or 0)
        page = {"revisions": [self.revisions[key] for key in names[start:start + 2]]}  # short pages, whatever is asked for
        return {**page, "nextPageToken": str(start + 2)} if start + 2 < len(names) else page

    def create(self, name, query, body):
        if name in self.services:
            raise Refused(409, "ALREADY_EXISTS", f"Resource '{short(name)}' already exists.")
        service = {**body, "name": name, "generation": "0", "observedGeneration": "0", "uri": "https://capture.example"}
        self.check(service, name)
        if query.get("validateOnly") == "true":
            return {"done": True, "response": service}
        self.made["service"] += 1
        self.services[name] = service
        return self.changed(service, None)

    def patch(self, name, query, body):
        before = self.found(self.services, name)
        if body.get("etag") is None:
            self.violations.append("a change without an etag")
        elif body["etag"] != before["etag"]:
            raise Refused(409, "ABORTED", f"Conflict for resource '{short(name)}'.")
        after = copy.deepcopy(before)
        for field in query["updateMask"].split(","):
            after[field] = body[field]
        self.check(after, name)
        chosen = f"{name}/revisions/{after['template']['revision']}"
        there = self.revisions.get(chosen, {})
        same = all(there.get(key) == value for key, value in after["template"].items() if key != "revision")
        if after["template"] != before["template"] and there and not same:
            raise Refused(409, "ALREADY_EXISTS", f"Revision named '{short(chosen)}' with different configuration already exists.")
        if query.get("validateOnly") == "true":
            return {"done": True, "response": after}
        self.services[name] = after
        return self.changed(after, before)

    def changed(self, service, before):
        service["generation"] = str(int(service["generation"]) + 1)
        service["etag"], service["reconciling"] = f'"{self.next()}"', True
        if before is None or before["template"] != service["template"]:
            template = copy.deepcopy(service["template"])
            name = f"{service['name']}/revisions/{template.pop('revision')}"
            service["latestCreatedRevision"] = name
            if name in self.revisions:
                return self.operation()
            self.made["revision"] += 1
            made = f"2026-01-01T00:00:{self.next():03}Z"
            self.revisions[name] = {**template, "name": name, "service": service["name"], "createTime": made,
                                    "conditions": [{"type": "Ready", "state": WORKING}]}
        return self.operation()

    def check(self, service, name):
        targets = service.get("traffic", [])
        if not targets or any(target.get("type") != BY_REVISION for target in targets):
            self.violations.append("traffic that follows the latest revision")
        if sum(target.get("percent", 0) for target in targets) != 100:
            raise Refused(400, "INVALID_ARGUMENT", "the percents must sum to 100")
        tags = [target["tag"] for target in targets if target.get("tag")]
        if len(set(tags)) != len(tags) or any(len(tag) < 3 or len(tag) + len(short(name)) > 46 for tag in tags):
            raise Refused(400, "INVALID_ARGUMENT", "tags must be unique, and short")
        for target in targets:
            there = self.revisions.get(f"{name}/revisions/{target.get('revision')}")
            if there is None and target.get("revision") != service["template"]["revision"]:
                raise Refused(400, "INVALID_ARGUMENT", f"Revision {target.get('revision')} not found")
            is_first = name not in self.services
            if target.get("percent") and not is_first and (there is None or there["conditions"][0]["state"] != READY):
                self.violations.append(f"traffic for {target['revision']}, which is not ready")

    def delete(self, name, query, _body):
        if query.get("etag") != self.found(self.services, name)["etag"]:
            raise Refused(409, "ABORTED", f"Conflict for resource '{short(name)}'.")
        del self.services[name]
        self.revisions = {key: of for key, of in self.revisions.items() if of["service"] != name}
        return self.operation()

    def delete_revision(self, name):
        service = self.services[self.found(self.revisions, name)["service"]]
        if any(target["revision"] == short(name) for target in service["traffic"]):
            raise Refused(400, "FAILED_PRECONDITION", "It can receive traffic.")
        if name == service["latestCreatedRevision"]:
            raise Refused(400, "FAILED_PRECONDITION", "It is the latest revision of its service.")
        del self.revisions[name]
        return self.operation()

    # -- the kit ---------------------------------------------------------------------------------------------------------

    def drift(self, _which):
        """Somebody gives half of the traffic to a revision of their own."""
        for service in self.services.values():
            template = copy.deepcopy(service["template"])
            template["revision"] = f"{short(service['name'])}-by-hand"
            before = copy.deepcopy(service)
            service["template"] = template
            self.changed(service, before)
            self.settle()
            halves = [{**target, "percent": target.get("percent", 0) // 2} for target in service["traffic"]]
            service["traffic"] = [*halves, {"type": BY_REVISION, "revision": template["revision"], "percent": 50}]
            self.changed(service, copy.deepcopy(service))
            self.settle()

    def state(self):
        self.settle()
        services = {}
        for name, service in self.services.items():
            targets = sorted([of["revision"], of.get("percent", 0), of.get("tag", "")] for of in service["traffic"])
            services[short(name)] = [targets, service.get("labels"), service.get("annotations"), service.get("ingress")]
        return {"there": {"services": services, "revisions": sorted(map(short, self.revisions))}, "made": self.made,
                "violations": self.violations}


def respond(world, method, url, headers, body):
    try:
        if headers.get("authorization") != "Bearer kit-token-of-nobody":
            raise Refused(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.")
        query = dict(parse_qsl(url.query, keep_blank_values=True, strict_parsing=bool(url.query)))
        return 200, {}, world.answer(method, unquote(url.path).removeprefix("/v2/"), query, json.loads(body or b"null"))
    except Refused as refused:
        return refused.code, {}, refused.body


serve(World, respond)
