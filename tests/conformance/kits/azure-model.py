"""Azure Container Apps, as far as provider-azure asks it, for the conformance kit: the model of the tests of providers, without
processes and without a clock. An operation ends by being looked at, or by reads of its app.
"""
import contextlib
import json
import os
import sys
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../providers/programs"))
sys.dont_write_bytecode = True
import azure_container_apps as azure  # noqa: E402
from kit_server import serve  # noqa: E402

SETTINGS = {"commands": {}, "fronts": {}, "tenant": "t", "clientId": "c", "clientSecret": "s", "looks": 1, "page": 4,
            "subscription": "3e5d1c2a-7b1f-4c55-9a55-0c2f5a0f7d11", "group": "second-brain",
            "may": ["GET", "PUT", "PATCH", "POST", "DELETE"], "endpoint": "https://management.azure.com"}


class Instant:
    """Whatever is started is ready."""

    def start(self, *_):
        pass

    end = lead = front = start

    def state(self, _):
        return "ready", ""


class Anything:
    """Bodies are checked by the tests of providers."""

    def problems(self, *_args, **_more):
        return []


class World(azure.Cloud):
    def __init__(self):
        super().__init__(SETTINGS, Anything(), Instant())
        # One request at a time is served here, and a lock cannot be copied.
        self.lock = contextlib.nullcontext()
        self.tokens["kit-token-of-nobody"] = float("inf")
        self.made, self.violations = {"app": 0, "revision": 0}, []

    def put(self, name, body):
        is_new = name not in self.apps
        answer = super().put(name, body)
        self.made["app"] += is_new
        return answer

    def make_revision(self, app):
        super().make_revision(app)
        self.made["revision"] += 1

    def asked(self, method, path, query, headers, body):
        try:
            answer = self.answer(method, path, query, headers, body)
        except azure.Refused as refused:
            if refused.status in (400, 401, 403, 415):
                self.violations.append(f"{method} {path}: {refused}")
            raise
        for app in list(self.apps.values()):
            operation = self.operations.get(app.get("operation"))
            if method == "GET" and operation:
                operation["looks"] -= 0.5
        return answer

    def drift(self, revision):
        """Somebody makes a revision by hand, and leads half of the requests to it."""
        for app in self.apps.values():
            serving = next(of for of in app["revisions"].values() if of["active"] and self.id_of(of) == revision)
            name = f"{app['name']}--by-hand"
            template = json.loads(json.dumps(serving["template"]).replace("BASB_", "OTHER_"))
            app["revisions"][name] = {"name": name, "template": template, "active": True, "created": azure.now()}
            configuration = app["body"]["properties"]["configuration"]
            configuration["ingress"]["traffic"] = [
                {"revisionName": serving["name"], "weight": 50}, {"revisionName": name, "weight": 50}]

    def id_of(self, revision):
        env = revision["template"]["containers"][0]["env"]
        return next((pair["value"] for pair in env if pair["name"] == "BASB_REVISION"), revision["name"])

    def shape(self):
        for app in list(self.apps.values()):
            if operation := self.operations.get(app.get("operation")):
                operation["looks"] = 0
            self.settle(app)
        there = {}
        for name, app in self.apps.items():
            ids = {of["name"]: self.id_of(of) for of in app["revisions"].values()}
            there[name] = {
                "state": app["state"],
                # What is retired is deactivated, and only Azure itself removes it: `made` counts what there is of it.
                "active": sorted(of["name"] for of in app["revisions"].values() if of["active"]),
                "table": sorted([ids[line["revisionName"]], line.get("weight", 0), line.get("label", "")] for line in self.table(app)),
            }
        return {"there": there, "made": self.made, "violations": self.violations}


def respond(world, method, url, headers, text):
    headers = {name.lower(): value for name, value in headers.items()}
    told = {}
    try:
        path, query = urllib.parse.unquote(url.path), urllib.parse.parse_qs(url.query)
        status, told, value = world.asked(method, path, query, headers, json.loads(text) if text else None)
    except azure.Refused as refused:
        status, value = refused.status, refused.body
    return status, {**told, "x-ms-request-id": "kit"}, value


serve(World, respond, World.shape)
