"""A model of Cloud Run, from Google's reference of its Admin API v2: services, revisions, traffic, tags, operations.

Every request is checked by Google's own description (`gcp_discovery`) and needs a token, which is had here for an assertion
that a service account has signed; google-auth verifies it. Containers are processes on this machine (`data_plane`). It knows
nothing of basb-host, and is not Cloud Run: what it does was written by the same people as the provider, from the reference.

    gcp_cloud_run.py PORT ACCOUNT PUBLIC_KEY COMMANDS LOG

COMMANDS is JSON: words by image. Each request and its answer is a line of LOG.
"""

import copy
import datetime
import http.client
import json
import re
import sys
import threading
import time
import urllib.parse
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import google.auth.jwt

from data_plane import DataPlane, free_port
from gcp_discovery import Description, Wrong

BY_REVISION = "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION"
LATEST = "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST"
LABEL_KEY, LABEL_VALUE = re.compile("[a-z][a-z0-9_-]{0,62}"), re.compile("[a-z0-9_-]{0,63}")
# An operation has never ended at the first look.
POLLS = 1
CODES = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "UNAUTHENTICATED": 401,
    "NOT_FOUND": 404,
    "ABORTED": 409,
    "ALREADY_EXISTS": 409,
}
# What those who ask cannot set.
OUTPUT = (
    "name uid generation createTime updateTime deleteTime expireTime creator lastModifier observedGeneration "
    "terminalCondition conditions latestReadyRevision latestCreatedRevision trafficStatuses uri urls reconciling etag"
).split()


class Refused(Exception):
    def __init__(self, status, message, violations=()):
        super().__init__(message)
        details = [{"@type": "type.googleapis.com/google.rpc.RequestInfo", "requestId": uuid.uuid4().hex}]
        if violations:
            fields = [{"field": field, "description": why} for field, why in violations]
            details.append({"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": fields})
        self.code = CODES[status]
        self.body = {"error": {"code": self.code, "message": message, "status": status, "details": details}}


def now():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def short(name):
    return name.rsplit("/", 1)[-1]


def condition(state, message="", **more):
    return {"type": "Ready", "state": f"CONDITION_{state}", "message": message, "lastTransitionTime": now(), **more}


class CloudRun:
    """Everything that there is."""

    def __init__(self, plane):
        self.plane, self.lock = plane, threading.RLock()
        self.services, self.revisions, self.operations, self.urls = {}, {}, {}, {}

    # --- what is asked -------------------------------------------------------------------------------------------------

    def answer(self, method, path, query, body):
        name = path.removeprefix("/v2/")
        action = method.removeprefix("run.projects.locations.")
        with self.lock:
            if action == "services.create":
                return self.create(f"{name}/{query['serviceId']}", query["serviceId"], body, query)
            if action == "services.list":
                return {"services": [of for key, of in sorted(self.services.items()) if key.startswith(name)]}
            if action == "services.get":
                return self.found(self.services, name)
            if action == "services.patch":
                return self.patch(name, body, query)
            if action == "services.delete":
                return self.delete(name, query)
            if action == "services.revisions.list":
                return self.page(name, query)
            if action == "services.revisions.get":
                return self.found(self.revisions, name)
            if action == "services.revisions.delete":
                return self.delete_revision(name)
            if action == "operations.get":
                return self.look(name)
        raise Refused("NOT_FOUND", f"{method} is not modelled")

    def found(self, kind, name):
        if name not in kind:
            raise Refused("NOT_FOUND", f"Resource '{short(name)}' was not found.")
        return kind[name]

    def page(self, name, query):
        all_of = [self.revisions[key] for key in sorted(self.revisions) if key.startswith(f"{name}/")]
        # Fewer on a page than anybody asks for: who reads the first page only is found out.
        size, at = min(int(query.get("pageSize") or 2), 2), int(query.get("pageToken") or 0)
        page = {"revisions": all_of[at : at + size]} if all_of[at : at + size] else {}
        return {**page, **({"nextPageToken": str(at + size)} if at + size < len(all_of) else {})}

    def create(self, name, service_id, body, query):
        if not re.fullmatch("[a-z]([a-z0-9-]{0,47}[a-z0-9])?", service_id):
            raise Refused(
                "INVALID_ARGUMENT",
                "The request was invalid: invalid service id",
                [("service_id", "must be a label of fewer than 50 characters")],
            )
        if name in self.services:
            raise Refused("ALREADY_EXISTS", f"Resource '{service_id}' already exists.")
        service = {key: value for key, value in body.items() if key not in OUTPUT}
        service = {
            **service,
            "name": name,
            "uid": str(uuid.uuid4()),
            "generation": "0",
            "observedGeneration": "0",
            "createTime": now(),
        }
        service.setdefault("traffic", [{"type": LATEST, "percent": 100}])
        service.setdefault("ingress", "INGRESS_TRAFFIC_ALL")
        self.check(service, None)
        if query.get("validateOnly") == "true":
            return {"name": f"{parent(name)}/operations/{uuid.uuid4()}", "done": True, "response": service}
        self.services[name] = service
        service["uri"] = self.url(name)
        return self.changed(service)

    def patch(self, name, body, query):
        before = self.found(self.services, name)
        if body.get("etag") and body["etag"] != before["etag"]:
            raise Refused(
                "ABORTED",
                f"Conflict for resource '{short(name)}': version '{body['etag']}' was specified but current version is '{before['etag']}'.",
            )
        after = copy.deepcopy(before)
        mask = [path for path in query.get("updateMask", "").split(",") if path] or [
            key for key in body if key not in OUTPUT
        ]
        for path in mask:
            at, source, (*way, field) = after, body, path.split(".")
            for part in way:
                at, source = at.setdefault(part, {}), (source or {}).get(part)
            if source and field in source:
                at[field] = source[field]
            else:
                at.pop(field, None)
        after.setdefault("traffic", [{"type": LATEST, "percent": 100}])
        self.check(after, before)
        if query.get("validateOnly") == "true":
            return {"name": f"{parent(name)}/operations/{uuid.uuid4()}", "done": True, "response": after}
        self.services[name] = after
        return self.changed(after, before)

    def delete(self, name, query):
        service = self.found(self.services, name)
        if query.get("etag") and query["etag"] != service["etag"]:
            raise Refused(
                "ABORTED",
                f"Conflict for resource '{short(name)}': the version that was specified is not the current one.",
            )
        del self.services[name]
        for key in [key for key in self.revisions if key.startswith(f"{name}/")]:
            self.plane.end(key)
            del self.revisions[key]
        self.plane.lead(name, {})
        return self.operation(name, None)

    def delete_revision(self, name):
        self.found(self.revisions, name)
        service = self.services[name.split("/revisions/")[0]]
        if any(target.get("revision") == short(name) for target in service["traffic"]):
            raise Refused("FAILED_PRECONDITION", f"Revision '{short(name)}' cannot be deleted: it can receive traffic.")
        if name in (service["latestCreatedRevision"], service.get("latestReadyRevision")):
            raise Refused(
                "FAILED_PRECONDITION", f"Revision '{short(name)}' cannot be deleted: it is the latest of its service."
            )
        del self.revisions[name]
        self.plane.end(name)
        return self.operation(name, None)

    def look(self, name):
        operation = self.found(self.operations, name)
        operation["looks"] += 1
        ended = (
            operation["waits"] is None
            or operation["waits"] not in self.services
            or not self.services[operation["waits"]]["reconciling"]
        )
        answer = {"name": name, "metadata": {}}
        if not ended or operation["looks"] <= POLLS:
            return answer
        service = self.services.get(operation["waits"], {})
        terminal = service.get("terminalCondition", {})
        if terminal.get("state") == "CONDITION_FAILED":
            return {**answer, "done": True, "error": {"code": 9, "message": terminal["message"]}}
        return {**answer, "done": True, "response": service}

    # --- what follows from it ------------------------------------------------------------------------------------------

    def operation(self, name, waits):
        operation = f"{parent(name)}/operations/{uuid.uuid4()}"
        self.operations[operation] = {"looks": 0, "waits": waits}
        return {"name": operation, "metadata": {}}

    def changed(self, service, before=None):
        service["generation"] = str(int(service["generation"]) + 1)
        service["etag"] = f"\"{uuid.uuid4().hex[:12]}/{service['generation']}=\""
        service["updateTime"], service["reconciling"] = now(), True
        if before is None or service["template"] != before["template"]:
            self.make(service)
        threading.Thread(target=self.reconcile, args=(service["name"], service["generation"]), daemon=True).start()
        return self.operation(service["name"], service["name"])

    def make(self, service):
        template = copy.deepcopy(service["template"])
        chosen = (
            template.pop("revision", None)
            or f"{short(service['name'])}-{int(service['generation']):05}-{uuid.uuid4().hex[:3]}"
        )
        name = f"{service['name']}/revisions/{chosen}"
        service["latestCreatedRevision"] = name
        if name not in self.revisions:
            self.revisions[name] = {
                **template,
                "name": name,
                "uid": str(uuid.uuid4()),
                "service": service["name"],
                "generation": "1",
                "createTime": now(),
                "logUri": f"https://console.cloud.google.com/logs/{chosen}",
                "conditions": [condition("RECONCILING")],
            }

    def reconcile(self, name, generation):
        """Makes what runs be what is asked for, and says what came of it."""
        with self.lock:
            service = self.services.get(name)
            asked = (
                [] if service is None else [self.revisions[service["latestCreatedRevision"]], *self.targeted(service)]
            )
        failed = {revision["name"]: why for revision in asked if (why := self.bring_up(revision))}
        with self.lock:
            service = self.services.get(name)
            if service is None or service["generation"] != generation:
                return
            latest = service["latestCreatedRevision"]
            for revision in asked:
                why = failed.get(revision["name"])
                revision["conditions"] = [
                    (
                        condition("FAILED", why, revisionReason="HEALTH_CHECK_CONTAINER_ERROR")
                        if why
                        else condition("SUCCEEDED")
                    )
                ]
            if latest not in failed:
                service["latestReadyRevision"] = latest
            wrong = [target["name"] for target in self.targeted(service) if target["name"] in failed]
            if not wrong and service.get("latestReadyRevision"):
                self.lead(service)
            said = failed.get(latest) or (failed[wrong[0]] if wrong else None)
            if said:
                message = f"Revision '{short(latest if latest in failed else wrong[0])}' is not ready and cannot serve traffic. {said}"
                service["terminalCondition"] = condition("FAILED", message, reason="REVISION_FAILED")
            else:
                service["terminalCondition"], service["observedGeneration"] = condition("SUCCEEDED"), generation
            service["reconciling"] = False
            kept = {revision["name"] for revision in self.targeted(service)} | {latest}
            for key in self.revisions:
                if key.startswith(f"{name}/") and key not in kept:
                    self.plane.end(key)

    def targeted(self, service):
        """The revisions that traffic or tags lead to."""
        names = {f"{service['name']}/revisions/{self.of_target(service, target)}" for target in service["traffic"]}
        return [self.revisions[name] for name in sorted(names) if name in self.revisions]

    def of_target(self, service, target):
        return target.get("revision") or short(service.get("latestReadyRevision") or service["latestCreatedRevision"])

    def bring_up(self, revision):
        """Starts it, unless it runs; why it does not come up, if it does not."""
        container = revision["containers"][0]
        with self.lock:
            if revision["conditions"][0]["state"] == "CONDITION_FAILED":
                return revision["conditions"][0]["message"]
        port = str(container.get("ports", [{}])[0].get("containerPort", 8080))
        # The port that a container was told is another one here.
        own = lambda text: "{port}" if text == port else text
        words = [own(text) for text in [*container.get("command", []), *container.get("args", [])]]
        env = {of["name"]: own(of.get("value", "")) for of in container.get("env", [])}
        self.plane.start(revision["name"], container["image"], words, env)
        probe = container.get("startupProbe", {})
        until = time.monotonic() + probe.get("periodSeconds", 10) * probe.get("failureThreshold", 3)
        while True:
            state, said = self.plane.state(revision["name"])
            if state == "ready" and self.probed(revision["name"], probe):
                return None
            if state in ("ended", "absent") or time.monotonic() > until:
                return (
                    f"The user-provided container failed to start and listen on the port defined provided by the PORT={port} environment variable "
                    f"within the allocated timeout. {said}"
                ).strip()
            time.sleep(0.05)

    def probed(self, name, probe):
        if "httpGet" not in probe:
            return True
        process = self.plane.processes.get(name)
        try:
            connection = http.client.HTTPConnection("127.0.0.1", process.port, timeout=5)
            connection.request("GET", probe["httpGet"].get("path", "/"))
            return 200 <= connection.getresponse().status < 400
        except (OSError, AttributeError):
            return False

    def lead(self, service):
        """Leads users and previews, all at once."""
        name, weights, statuses = service["name"], {}, []
        for target in service["traffic"]:
            revision = self.of_target(service, target)
            key = f"{name}/revisions/{revision}"
            weights[key] = weights.get(key, 0) + target.get("percent", 0)
            # Of what follows the latest revision, Cloud Run does not say which one that is.
            status = {**target, "revision": revision} if target.get("type") != LATEST else {**target}
            if target.get("tag"):
                status["uri"] = self.url(f"{name}#{target['tag']}")
                self.plane.lead(f"{name}#{target['tag']}", {key: 100})
            statuses.append(status)
        for gone in [
            of
            for of in self.urls
            if of.startswith(f"{name}#")
            and of.split("#")[1] not in [target.get("tag") for target in service["traffic"]]
        ]:
            self.plane.lead(gone, {})
        self.plane.lead(name, weights)
        service["trafficStatuses"] = statuses

    def url(self, front):
        if front not in self.urls:
            port, held = free_port()
            self.plane.front(front, port)
            self.urls[front] = (f"http://127.0.0.1:{port}", held)
        return self.urls[front][0]

    # --- what is refused -----------------------------------------------------------------------------------------------

    def check(self, service, before):
        name, template, wrong = short(service["name"]), service.get("template", {}), []
        containers = template.get("containers", [])
        if len(containers) != 1 or not containers[0].get("image"):
            wrong.append(("template.containers", "one container with an image is required"))
        for container in containers:
            names = [of.get("name") for of in container.get("env", [])]
            if len(set(names)) != len(names):
                wrong.append(("template.containers[0].env", "a variable is there twice"))
            if set(names) & {"PORT", "K_SERVICE", "K_REVISION", "K_CONFIGURATION"}:
                wrong.append(
                    (
                        "template.containers[0].env",
                        "The following reserved env names were provided: PORT. These values are automatically set by the system.",
                    )
                )
        for at, labels in (("labels", service.get("labels", {})), ("template.labels", template.get("labels", {}))):
            for key, value in labels.items():
                if not LABEL_KEY.fullmatch(key) or not LABEL_VALUE.fullmatch(value):
                    wrong.append((at, f"{key}={value} is no label"))
        chosen = template.get("revision", "")
        if chosen and not (
            chosen.startswith(f"{name}-") and len(chosen) <= 63 and re.fullmatch("[a-z0-9-]+[a-z0-9]", chosen)
        ):
            wrong.append(("template.revision", f"must begin with '{name}-' and have 63 characters at the most"))
        there = self.revisions.get(f"{service['name']}/revisions/{chosen}")
        same = there and all(there.get(key) == value for key, value in template.items() if key != "revision")
        if before and template != before["template"] and there and not same:
            raise Refused("ALREADY_EXISTS", f"Revision named '{chosen}' with different configuration already exists.")
        tags = [target["tag"] for target in service["traffic"] if target.get("tag")]
        for tag in tags:
            if (
                not re.fullmatch("[a-z]([a-z0-9-]*[a-z0-9])", tag)
                or len(tag) < 3
                or len(tag) + len(name) > 46
                or tags.count(tag) > 1
            ):
                wrong.append(
                    (
                        "traffic.tag",
                        f"{tag}: tags are labels of three characters, unique, and with the service's name 46 characters at the most",
                    )
                )
        for target in service["traffic"]:
            revision = target.get("revision")
            if (target.get("type") == BY_REVISION) != bool(revision):
                wrong.append(("traffic", "a target names a revision, or follows the latest one"))
            if revision and revision != chosen and f"{service['name']}/revisions/{revision}" not in self.revisions:
                wrong.append(("traffic.revision", f"Revision {revision} not found"))
        if sum(target.get("percent", 0) for target in service["traffic"]) != 100:
            wrong.append(("traffic.percent", "the percents must sum to 100"))
        if wrong:
            raise Refused("INVALID_ARGUMENT", f"The request has errors: {wrong[0][0]}: {wrong[0][1]}", wrong)


def parent(name):
    return "/".join(name.split("/")[:4])


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def handle_request(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        url = urllib.parse.urlsplit(self.path)
        path, pairs = urllib.parse.unquote(url.path), urllib.parse.parse_qsl(url.query, keep_blank_values=True)
        if path == "/token":
            return self.say(*self.server.token(body, f"http://{self.headers['host']}/token"))
        value = None
        try:
            scheme, _, token = self.headers.get("authorization", "").partition(" ")
            if scheme != "Bearer" or token not in self.server.tokens:
                raise Refused(
                    "UNAUTHENTICATED", "Request had invalid authentication credentials. Expected OAuth 2 access token."
                )
            try:
                value = json.loads(body) if body else None
                method, _ = self.server.api.check(self.command, path, pairs, value)
            except Wrong as wrong:
                raise Refused("INVALID_ARGUMENT", str(wrong), [(wrong.field, wrong.why)]) from wrong
            except ValueError as error:
                raise Refused("INVALID_ARGUMENT", f"Invalid JSON payload received. {error}") from error
            except LookupError as error:
                raise Refused("NOT_FOUND", f"there is no such method: {error}") from error
            answer = self.server.run.answer(method, path, dict(pairs), value)
            with self.server.run.lock:
                status, text = 200, json.dumps(answer)
        except Refused as refused:
            status, text = refused.code, json.dumps(refused.body)
        with self.server.run.lock, open(self.server.log, "a", encoding="utf-8") as log:
            agent = self.headers.get("user-agent", "")
            line = {
                "method": self.command,
                "path": path,
                "query": pairs,
                "body": value,
                "status": status,
                "agent": agent,
                "answer": json.loads(text),
            }
            log.write(json.dumps(line) + "\n")
        self.say(status, text)

    def say(self, status, text):
        data = text.encode()
        self.send_response(status)
        self.send_header("content-type", "application/json; charset=UTF-8")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = handle_request

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def token(self, form, audience):
        """A token for a signed assertion (RFC 7523)."""
        form = dict(urllib.parse.parse_qsl(form.decode()))
        try:
            assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer", "another grant"
            # Google's own client names Google's endpoint, whichever it speaks to.
            audiences = [audience, "https://oauth2.googleapis.com/token"]
            claims = google.auth.jwt.decode(form["assertion"], certs=self.key, audience=audiences)
            assert claims["iss"] == self.account, "another account"
            assert "https://www.googleapis.com/auth/cloud-platform" in claims["scope"].split(), "another scope"
        except Exception as error:  # whatever is wrong with it, it is no grant
            return 400, json.dumps({"error": "invalid_grant", "error_description": str(error)})
        token = f"ya29.{uuid.uuid4().hex}{uuid.uuid4().hex}"
        self.tokens.add(token)
        return 200, json.dumps({"access_token": token, "expires_in": 3599, "token_type": "Bearer"})


def main():
    port, account, key, commands, log = sys.argv[1:6]
    server = Server(("127.0.0.1", int(port)), Handler)
    with open(key, encoding="utf-8") as file:
        server.key = file.read()
    server.account, server.tokens, server.log = account, set(), log
    server.api, server.run = Description("run.v2"), CloudRun(DataPlane(json.loads(commands)))
    server.serve_forever()


main()
