"""A model of Azure Container Apps behind Resource Manager, and of the Entra endpoint that gives tokens for it.

Every body is checked by what Microsoft publishes (`azure_schema`), every request needs a token that was had here for the client's
secret, and operations go on after their request was answered. A revision is a process on this machine (`data_plane`). It knows
nothing of basb-host, and is not Azure: what it does was written by the same people as the provider, from the documentation.

    azure_container_apps.py PORT ENTRA_PORT SCHEMA SETTINGS

SETTINGS is JSON: `commands` (words by image), `fronts` (ports by `NAME` or `NAME---LABEL`, with the name of the first container),
`tenant`, `clientId`, `clientSecret`, `subscription`, `group`, `looks` (how often an operation is looked at until it can end),
`may` (methods that the client's role allows). `GET /log` at ENTRA_PORT shows what was asked.
"""
import copy
import json
import re
import secrets
import sys
import threading
import time
import urllib.parse
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from data_plane import DataPlane

VERSION = "2025-07-01"
# So short that whoever overlooks the second one is seen.
PAGE = 2
ARM_SCOPE = "https://management.azure.com/.default"
DOMAIN = "blackplant-4f1c2a7e.westeurope.azurecontainerapps.io"
APP_NAME = re.compile(r"[a-z]([a-z0-9]|-(?!-))*[a-z0-9]")
SUFFIX = re.compile(r"[a-z0-9]([a-z0-9]|-(?!-))*[a-z0-9]")


class Refused(Exception):
    def __init__(self, status, code, message, details=()):
        super().__init__(message)
        self.status = status
        self.body = {"error": {"code": code, "message": message}}
        if details:
            self.body["error"]["details"] = [{"code": code, "message": one} for one in details]


class Cloud:
    """One resource group. `description` checks bodies, `plane` runs what is in them."""

    def __init__(self, settings, description, plane):
        self.settings, self.description, self.plane = settings, description, plane
        self.lock = threading.RLock()
        self.apps, self.operations, self.tokens, self.log = {}, {}, {}, []
        for front, port in settings["fronts"].items():
            self.plane.front(front, port)
        group = re.escape(f"/subscriptions/{settings['subscription']}/resourceGroups/{settings['group']}")
        self.below_group = re.compile(group + r"/providers/Microsoft\.App/containerApps(?:/([^/]+)(/.*)?)?$", re.IGNORECASE)
        self.operation_path = f"/subscriptions/{settings['subscription']}/providers/Microsoft.App/locations/westeurope"

    # --- who asks, and for what ----------------------------------------------------------------------------------------

    def token(self, tenant, form):
        wanted = {"grant_type": "client_credentials", "client_id": self.settings["clientId"], "scope": ARM_SCOPE}
        for name, value in wanted.items():
            if form.get(name) != value:
                return 400, {"error": "invalid_request", "error_description": f"AADSTS90014: `{name}` is not `{value}`"}
        if tenant != self.settings["tenant"]:
            return 400, {"error": "invalid_request", "error_description": f"AADSTS90002: Tenant '{tenant}' not found"}
        if form.get("client_secret") != self.settings["clientSecret"]:
            return 401, {"error": "invalid_client", "error_description": "AADSTS7000215: Invalid client secret provided"}
        token = secrets.token_urlsafe(40)
        self.tokens[token] = time.time() + 3599
        return 200, {"token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599, "access_token": token}

    def answer(self, method, path, query, headers, body):
        """Status, headers and body of an answer."""
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme != "Bearer" or self.tokens.get(token, 0) < time.time():
            raise Refused(401, "AuthenticationFailed", "Authentication failed. The 'Authorization' header is missing or invalid.")
        if method not in self.settings["may"]:
            raise Refused(403, "AuthorizationFailed",
                          f"The client '{self.settings['clientId']}' does not have authorization to perform action "
                          f"'Microsoft.App/containerApps/{method}' over scope '{path}' or the scope is invalid.")
        if query.get("api-version") != [VERSION]:
            raise Refused(400, "InvalidApiVersionParameter", f"The api-version '{query.get('api-version')}' is invalid.")
        if method in ("PUT", "PATCH") and headers.get("content-type") != "application/json":
            raise Refused(415, "UnsupportedMediaType", f"the content type is {headers.get('content-type')}")
        if client := headers.get("x-ms-client-request-id"):
            uuid.UUID(client)
        if path.startswith(self.operation_path + "/") and method == "GET":
            return self.look(path, query)
        match = self.below_group.match(path)
        if not match:
            group = re.match(r"/subscriptions/([^/]+)/resourceGroups/([^/]+)", path, re.IGNORECASE)
            if group and group[1] == self.settings["subscription"]:
                raise Refused(404, "ResourceGroupNotFound", f"Resource group '{group[2]}' could not be found.")
            raise Refused(404, "SubscriptionNotFound", f"there is nothing at {path}")
        name, rest = match[1], [part for part in (match[2] or "").split("/") if part]
        if name is None:
            return 200, {}, {"value": [self.shown(of) for of in self.apps.values()]}
        app = self.apps.get(name)
        if (method, rest) == ("PUT", []):
            return self.put(name, body)
        if (method, rest) == ("DELETE", []):
            return self.delete(app)
        if app is None:
            raise Refused(404, "ResourceNotFound", f"The Resource 'Microsoft.App/containerApps/{name}' under resource group "
                          f"'{self.settings['group']}' was not found.")
        if method == "GET" and not rest:
            return 200, {}, self.shown(app)
        if method == "PATCH" and not rest:
            return self.patch(app, body)
        if rest[:1] == ["revisions"] and method == "GET" and len(rest) == 1:
            return self.list_revisions(app, path, query)
        if rest[:1] == ["revisions"] and len(rest) in (2, 3):
            revision, action = self.revision(app, rest[1]), rest[2:]
            if method == "GET" and not action:
                return 200, {}, self.shown_revision(app, revision)
            if method == "GET" and action == ["replicas"]:
                return 200, {}, {"value": self.replicas(app, revision)}
            if method == "POST" and action and action[0] in ("activate", "deactivate", "restart") and not body:
                return self.act(app, revision, action[0])
        raise Refused(404, "InvalidResourceType", f"{method} {path} is not modelled")

    # --- apps ----------------------------------------------------------------------------------------------------------

    def put(self, name, body):
        if name in self.apps:
            there = self.apps[name]
            if there["put"] != body:
                raise Refused(409, "NotModelled", "this model takes PUT for a new app only, and the same once more")
            self.refuse_busy(there)
            return 200, {}, self.shown(there)
        if not APP_NAME.fullmatch(name) or len(name) > 32:
            raise Refused(400, "ContainerAppInvalidName", f"Invalid ContainerApp name '{name}'.")
        self.refuse_problems(body, name, is_change=False)
        environment = body["properties"].get("environmentId") or body["properties"].get("managedEnvironmentId")
        if environment != self.environment():
            raise Refused(400, "ManagedEnvironmentNotFound", f"The environment '{environment}' does not exist.")
        properties = copy.deepcopy(body["properties"])
        app = {"name": name, "body": {**copy.deepcopy(body), "properties": properties}, "revisions": {}, "state": "InProgress", "latestReady": None}
        app["put"] = copy.deepcopy(body)
        properties["managedEnvironmentId"] = properties["environmentId"] = environment
        properties.setdefault("configuration", {}).setdefault("activeRevisionsMode", "Single")
        self.check(app, app["body"], new=True)
        self.apps[name] = app
        self.make_revision(app)
        self.lead(app)
        return self.begin(app, 201, self.shown(app))

    def patch(self, app, body):
        self.refuse_busy(app)
        self.refuse_problems(body, app["name"], is_change=True)
        if plain(body["location"]) != plain(app["body"]["location"]):
            raise Refused(400, "InvalidResourceLocation", "the location cannot be changed")
        then = merged(app["body"], body)
        new = then["properties"].get("template") != app["body"]["properties"].get("template")
        self.check(app, then, new)
        app["body"], app["state"] = then, "InProgress"
        if new:
            self.make_revision(app)
        self.lead(app)
        return self.begin(app, 202, None)

    def delete(self, app):
        if app is None:
            return 204, {}, None
        self.refuse_busy(app)
        app["state"] = "Deleting"
        return self.begin(app, 202, None, kind="removal")

    def refuse_busy(self, app):
        self.settle(app)
        if app["state"] in ("InProgress", "Deleting"):
            raise Refused(409, "ContainerAppOperationInProgress", f"Cannot modify a container app '{app['name']}' because there "
                          "is an active provisioning operation in progress.")

    def refuse_problems(self, body, name, is_change):
        problems = self.description.problems(body, name, is_change)
        if problems:
            raise Refused(400, "InvalidRequestContent", "The request content was invalid.", problems)

    def check(self, app, body, new):
        """What the description does not say, and the documentation does."""
        wrong = lambda code, why: Refused(400, code, f"ContainerApp '{app['name']}': {why}")
        properties, configuration = body["properties"], body["properties"]["configuration"]
        template = properties.get("template") or {}
        containers = template.get("containers") or []
        if not containers:
            raise wrong("ContainerAppContainersRequired", "a template has a container")
        names = {secret["name"] for secret in configuration.get("secrets", [])}
        identities = {key.lower() for key in (body.get("identity") or {}).get("userAssignedIdentities") or {}} | {"system"}
        for of in configuration.get("registries", []) + configuration.get("secrets", []):
            if "identity" in of and of["identity"].lower() not in identities:
                raise wrong("InvalidIdentity", f"the identity '{of['identity']}' is not one of the app")
        for container in containers:
            env = [pair["name"] for pair in container.get("env", [])]
            if len(env) != len(set(env)):
                raise wrong("ContainerAppDuplicateEnv", f"a variable is there twice: {env}")
            for pair in container.get("env", []):
                if "secretRef" in pair and pair["secretRef"] not in names:
                    raise wrong("ContainerAppSecretRefNotFound", f"SecretRef '{pair['secretRef']}' not found")
            cpu, memory = container["resources"]["cpu"], container["resources"]["memory"]
            if cpu * 4 != int(cpu * 4) or memory not in (f"{cpu * 2:g}Gi", f"{cpu * 2:.1f}Gi"):
                raise wrong("ContainerAppInvalidResourceTotal", f"cpu {cpu} and memory {memory} are no pair of the Consumption plan")
            for probe in container.get("probes", []):
                limits = {"periodSeconds": 240, "successThreshold": 10 if probe["type"] == "Readiness" else 1, "failureThreshold": 48, "timeoutSeconds": 240}
                if any(not 1 <= probe.get(name, 1) <= most for name, most in limits.items()):
                    raise wrong("ContainerAppProbeInvalid", f"a probe is out of range: {probe}")
        scale = template.get("scale", {})
        if not 0 <= scale.get("minReplicas", 0) <= scale.get("maxReplicas", 10) <= 1000:
            raise wrong("ContainerAppInvalidScaleSpec", f"{scale}")
        made = None
        if new:
            suffix = template.get("revisionSuffix") or secrets.token_hex(4)
            made = f"{app['name']}--{suffix}"
            if not SUFFIX.fullmatch(suffix) or len(made) > 63:
                raise wrong("ContainerAppInvalidRevisionSuffix", f"the revision suffix '{suffix}' is invalid")
            if made in app["revisions"]:
                raise wrong("ContainerAppInvalidRevisionSuffix", f"revision with suffix {suffix} already exists.")
            app["next"] = made
        self.check_traffic(app, configuration, made, wrong)

    def check_traffic(self, app, configuration, made, wrong):
        ingress = configuration.get("ingress")
        if not ingress:
            return
        if not 1 <= ingress.get("targetPort", 0) <= 65535:
            raise wrong("ContainerAppInvalidTargetPort", "ingress has a targetPort")
        table = ingress.setdefault("traffic", [{"latestRevision": True, "weight": 100}])
        if configuration["activeRevisionsMode"] == "Single":
            if len(table) > 1:
                raise wrong("InvalidTrafficWeights", "weights need the mode `Multiple`")
            return
        if sum(line.get("weight", 0) for line in table) != 100 or any(not 0 <= line.get("weight", 0) <= 100 for line in table):
            raise wrong("InvalidTrafficWeights", f"the weights do not make 100: {table}")
        labels = [line["label"] for line in table if "label" in line]
        if len(labels) != len(set(labels)):
            raise wrong("DuplicateTrafficLabels", f"{labels}")
        for line in table:
            name = line.get("revisionName")
            is_active = name == made or name in app["revisions"] and app["revisions"][name]["active"]
            if bool(name) == bool(line.get("latestRevision")) or name and not is_active:
                raise wrong("InvalidTrafficRevision", f"no active revision: {line}")

    # --- revisions -----------------------------------------------------------------------------------------------------

    def make_revision(self, app):
        name, template = app.pop("next"), app["body"]["properties"]["template"]
        app["latest"] = name
        if app["body"]["properties"]["configuration"]["activeRevisionsMode"] == "Single":
            for other in app["revisions"].values():
                other["active"] = False
                self.plane.end(other["name"])
        app["revisions"][name] = {"name": name, "template": copy.deepcopy(template), "active": True, "created": now()}
        self.start(app["revisions"][name])

    def start(self, revision):
        container = revision["template"]["containers"][0]
        env = {pair["name"]: pair.get("value", "") for pair in container.get("env", []) if pair["name"] not in ("PORT", "HOST")}
        self.plane.start(revision["name"], container["image"], container.get("command", []) + container.get("args", []), env)

    def revision(self, app, name):
        if name not in app["revisions"]:
            raise Refused(404, "RevisionNotFound", f"Revision '{name}' of '{app['name']}' was not found.")
        return app["revisions"][name]

    def act(self, app, revision, action):
        self.refuse_busy(app)
        name = revision["name"]
        if action == "activate" and not revision["active"]:
            revision["active"] = True
            self.start(revision)
        if action == "deactivate":
            if any(line["revisionName"] == name for line in self.table(app)):
                raise Refused(400, "RevisionInTraffic", f"Revision '{name}' is in the traffic table.")
            revision["active"] = False
            self.plane.end(name)
        return 200, {}, None

    def state(self, revision):
        """Provisioning, health and running state, and what is to be said."""
        if not revision["active"]:
            return "Provisioned", "None", "Stopped", ""
        state, why = self.plane.state(revision["name"])
        return {"ready": ("Provisioned", "Healthy", "Running", ""), "starting": ("Provisioning", "None", "Processing", "")}.get(
            state, ("Failed", "Unhealthy", "Failed", why))

    def table(self, app):
        """Each line by the name of its revision."""
        ingress = app["body"]["properties"]["configuration"].get("ingress")
        if not ingress:
            return []
        latest = app["latestReady"] or app["latest"]
        return [{**line, "revisionName": line.get("revisionName") or latest} for line in ingress.get("traffic", [])]

    def lead(self, app):
        name = app["body"]["properties"]["template"]["containers"][0]["name"]
        weights = {}
        labels = {front: {} for front in self.settings["fronts"] if front.startswith(f"{name}---")}
        for line in self.table(app):
            weights[line["revisionName"]] = weights.get(line["revisionName"], 0) + line.get("weight", 0)
            if f"{name}---{line.get('label')}" in labels:
                labels[f"{name}---{line['label']}"] = {line["revisionName"]: 100}
        self.plane.lead(name, weights)
        for front, weights in labels.items():
            self.plane.lead(front, weights)

    def replicas(self, app, revision):
        provisioning, _, _, why = self.state(revision)
        ready = provisioning == "Provisioned"
        count = revision["template"].get("scale", {}).get("minReplicas", 0) if revision["active"] else 0
        return [{
            "id": f"{self.id(app)}/revisions/{revision['name']}/replicas/{revision['name']}-{number}",
            "name": f"{revision['name']}-{number}", "type": "Microsoft.App/containerApps/revisions/replicas",
            "properties": {"createdTime": revision["created"], "runningState": "Running" if ready else "NotRunning",
                           "runningStateDetails": why, "initContainers": [], "containers": [{
                               "name": revision["template"]["containers"][0]["name"], "ready": ready, "started": ready, "restartCount": 0,
                               "runningState": "Running" if ready else "Waiting", "runningStateDetails": why}]},
        } for number in range(count)]

    def list_revisions(self, app, path, query):
        every, at = sorted(app["revisions"].values(), key=lambda of: of["created"]), int(query.get("$skipToken", ["0"])[0])
        end = at + self.settings.get("page", PAGE)
        page = {"value": [self.shown_revision(app, of) for of in every[at:end]]}
        if end < len(every):
            page["nextLink"] = f"{self.settings['endpoint']}{path}?api-version={VERSION}&%24skipToken={end}"
        return 200, {}, page

    # --- operations ----------------------------------------------------------------------------------------------------

    def begin(self, app, status, body, kind="change"):
        number = str(uuid.uuid4())
        self.operations[number] = {"app": app["name"], "looks": self.settings["looks"], "kind": kind, "revision": app.get("latest"), "ended": None, "query": ""}
        app["operation"] = number
        # Real ones carry signatures of kilobytes.
        more = f"api-version={VERSION}&azureAsyncNotification=true&t={int(time.time())}&c={'MII' * 1200}&h={secrets.token_urlsafe(32)}"
        self.operations[number]["query"] = more
        place = f"{self.settings['endpoint']}{self.operation_path}"
        headers = {"Retry-After": "1", "Location": f"{place}/containerappOperationResults/{number}?{more}"}
        if kind == "change":
            headers["Azure-AsyncOperation"] = f"{place}/containerappOperationStatuses/{number}?{more}"
        return status, headers, body

    def look(self, path, query):
        kind, _, number = path.rpartition("/")
        operation = self.operations.get(number)
        if operation is None or "h" not in query:
            raise Refused(404, "OperationNotFound", f"The operation '{number}' was not found.")
        operation["looks"] -= 1
        app = self.apps.get(operation["app"])
        if app is not None:
            self.settle(app)
        ended = operation["ended"]
        if kind.endswith("Results"):
            again = {"Retry-After": "1", "Location": f"{self.settings['endpoint']}{path}?{operation['query']}"}
            return (202, again, None) if ended is None else (200, {}, None)
        if ended is None:
            return 200, {"Retry-After": "1"}, {"id": path, "name": number, "status": "InProgress"}
        return 200, {}, {"id": path, "name": number, **ended}

    def settle(self, app):
        """Ends the app's operation, where it has come to its end."""
        number = app.get("operation")
        operation = self.operations.get(number)
        if operation is None or operation["ended"] is not None or operation["looks"] > 0:
            return
        revision = app["revisions"].get(operation["revision"], {"active": False})
        provisioning, _, _, why = self.state(revision)
        if operation["kind"] == "removal":
            for one in app["revisions"]:
                self.plane.end(one)
            del self.apps[app["name"]]
            operation["ended"] = {"status": "Succeeded"}
        elif provisioning == "Failed":
            app["state"] = "Failed"
            operation["ended"] = {"status": "Failed", "error": {
                "code": "ContainerAppOperationError", "message": f"Failed to provision revision for container app '{app['name']}'. Error details: {why}"}}
        elif provisioning == "Provisioned":
            app["state"] = "Succeeded"
            app["latestReady"] = operation["revision"]
            operation["ended"] = {"status": "Succeeded"}
            self.lead(app)

    def time_passes(self):
        while True:
            time.sleep(1)
            with self.lock:
                for app in list(self.apps.values()):
                    if operation := self.operations.get(app.get("operation")):
                        # An operation that nobody looks at ends too.
                        operation["looks"] -= 0.25
                    self.settle(app)

    # --- what is shown -------------------------------------------------------------------------------------------------

    def environment(self):
        return f"/subscriptions/{self.settings['subscription']}/resourceGroups/{self.settings['group']}/providers/Microsoft.App/managedEnvironments/main"

    def id(self, app):
        return f"/subscriptions/{self.settings['subscription']}/resourceGroups/{self.settings['group']}/providers/Microsoft.App/containerApps/{app['name']}"

    def shown(self, app):
        self.settle(app)
        body = copy.deepcopy(app["body"])
        properties = body["properties"]
        properties.update(provisioningState=app["state"], runningStatus="Running", latestRevisionName=app["latest"], latestReadyRevisionName=app["latestReady"])
        if ingress := properties["configuration"].get("ingress"):
            ingress["fqdn"] = f"{app['name']}.{DOMAIN}" if ingress.get("external") else f"{app['name']}.internal.{DOMAIN}"
            ingress["transport"] = ingress.get("transport", "auto").capitalize()
        properties["template"] = filled(properties["template"])
        return {"id": self.id(app), "name": app["name"], "type": "Microsoft.App/containerApps", **body}

    def shown_revision(self, app, revision):
        provisioning, health, running, why = self.state(revision)
        weight = sum(line.get("weight", 0) for line in self.table(app) if line["revisionName"] == revision["name"])
        properties = {
            "createdTime": revision["created"], "fqdn": f"{revision['name']}.{DOMAIN}", "template": filled(revision["template"]),
            "active": revision["active"], "replicas": len(self.replicas(app, revision)), "trafficWeight": weight,
            "healthState": health, "provisioningState": provisioning, "runningState": running,
        }
        if why:
            properties["provisioningError"] = why
        return {"id": f"{self.id(app)}/revisions/{revision['name']}", "name": revision["name"],
                "type": "Microsoft.App/containerapps/revisions", "properties": properties}


def now():
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()) + f".{time.time_ns() % 10**9:09d}Z"


def plain(location):
    return location.replace(" ", "").lower()


def filled(template):
    """What Azure adds of its own."""
    template = copy.deepcopy(template)
    for container in template.get("containers", []):
        container["resources"]["ephemeralStorage"] = "1Gi"
    return {**template, "volumes": None, "scale": {"cooldownPeriod": 300, "pollingInterval": 30, **template.get("scale", {})}}


def merged(target, patch):
    """RFC 7396."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    target = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            target.pop(name, None)
        else:
            target[name] = merged(target.get(name), value)
    return target


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def body(self):
        return self.rfile.read(int(self.headers.get("content-length") or 0))

    def say(self, status, headers, body):
        text = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {**headers, "content-length": str(len(text))}.items():
            self.send_header(name, value)
        if text:
            self.send_header("content-type", "application/json; charset=utf-8")
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


class Arm(Handler):
    def served(self):
        path, _, query = self.path.partition("?")
        text = self.body()
        headers = {name.lower(): value for name, value in self.headers.items()}
        entry = {"method": self.command, "path": path, "query": urllib.parse.parse_qs(query), "body": None,
                 "headers": {name: value for name, value in headers.items() if name != "authorization"}}
        more = {"x-ms-request-id": str(uuid.uuid4()), "x-ms-correlation-request-id": str(uuid.uuid4())}
        with cloud.lock:
            cloud.log.append(entry)
            try:
                entry["body"] = json.loads(text) if text else None
                status, told, answer = cloud.answer(self.command, urllib.parse.unquote(path), entry["query"], headers, entry["body"])
            except Refused as refused:
                status, told, answer = refused.status, {}, refused.body
                if status == 401:
                    told = {"WWW-Authenticate": 'Bearer authorization_uri="https://login.microsoftonline.com/"'}
            except Exception as error:  # a gap of the model, said as what it is
                status, told, answer = 400, {}, {"error": {"code": "ModelError", "message": f"{type(error).__name__}: {error}"}}
            entry["status"] = status
        self.say(status, {**more, **told}, answer)

    do_GET = do_PUT = do_PATCH = do_POST = do_DELETE = served


class Entra(Handler):
    def do_POST(self):
        form = dict(urllib.parse.parse_qsl(self.body().decode()))
        match = re.fullmatch(r"/([^/]+)/oauth2/v2\.0/token", self.path)
        status, answer = cloud.token(match[1], form) if match else (404, {"error": "invalid_request"})
        self.say(status, {"cache-control": "no-store"}, answer)

    def do_GET(self):
        with cloud.lock:
            self.say(200, {}, cloud.log)


if __name__ == "__main__":
    port, entra_port, schema, settings = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], json.loads(sys.argv[4])
    from azure_schema import Description

    plane = DataPlane(settings["commands"], grace=5.0)
    cloud = Cloud({**settings, "endpoint": f"http://127.0.0.1:{port}"}, Description(schema), plane)
    threading.Thread(target=cloud.time_passes, daemon=True).start()
    threading.Thread(target=Server(("127.0.0.1", entra_port), Entra).serve_forever, daemon=True).start()
    Server(("127.0.0.1", port), Arm).serve_forever()
