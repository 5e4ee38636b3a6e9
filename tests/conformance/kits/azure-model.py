"""Azure Container Apps, as far as provider-azure asks it, for the conformance kit: the model of the tests of providers, without
processes and without a clock. An operation ends by being looked at, or by reads of its app.
"""
import contextlib
import copy
import json
import os
import sys
import urllib.parse
from http.server import BaseHTTPRequestHandler, HTTPServer

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../providers/programs"))
sys.dont_write_bytecode = True
import azure_container_apps as azure  # noqa: E402

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


WORLD, KEPT = World(), {}


def keep(query):
    """Keeps what is there under a number, or goes back to it."""
    global WORLD
    verb, number = query.split("=")
    if verb == "as":
        KEPT[number] = copy.deepcopy(WORLD)
    else:
        WORLD = copy.deepcopy(KEPT[number])


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answered(self):
        global WORLD
        path, _, query = self.path.partition("?")
        text = self.rfile.read(int(self.headers.get("content-length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        told, status, value = {}, 200, {}
        if path == "/kit/reset":
            WORLD = World()
        elif path == "/kit/keep":
            keep(query)
        elif path == "/kit/state":
            value = WORLD.shape()
        elif path.startswith("/kit/drift/"):
            WORLD.drift(path.rpartition("/")[2])
        else:
            try:
                body = json.loads(text) if text else None
                status, told, value = WORLD.asked(self.command, urllib.parse.unquote(path), urllib.parse.parse_qs(query), headers, body)
            except azure.Refused as refused:
                status, value = refused.status, refused.body
        data = b"" if value is None else json.dumps(value).encode()
        self.send_response(status)
        for name, word in {**told, "x-ms-request-id": "kit", "content-type": "application/json"}.items():
            self.send_header(name, word)
        if status != 204:
            self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_PUT = do_PATCH = do_POST = do_DELETE = answered

    def log_message(self, *_):
        pass


HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
