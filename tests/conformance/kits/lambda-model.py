"""AWS Lambda, as far as provider-aws asks it: a model for the conformance kit, for any number of functions.

Written from the API reference: one change at a time, a lock (`RevisionId`) on functions and aliases, versions that are
published only where something changed since the last one. A function is busy until it was looked at once after a change.
"""

import hashlib
import json
from urllib.parse import parse_qs, unquote

from kit_server import serve

PREFIX = "/2015-03-31/functions"


class Refused(Exception):
    def __init__(self, status, code, message):
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


def gone(what):
    return Refused(404, "ResourceNotFoundException", f"{what} not found")


class World:
    def __init__(self):
        self.functions, self.number, self.violations = {}, 0, []
        self.made = {"function": 0, "version": 0, "alias": 0}

    def lock(self):
        self.number += 1
        return f"lock-{self.number}"

    def check(self, body, known):
        if body.get("RevisionId") not in (None, known):
            raise Refused(412, "PreconditionFailedException", "The RevisionId provided does not match the latest RevisionId")

    def changed(self, function):
        function["RevisionId"], function["busy"] = self.lock(), True

    def not_busy(self, function):
        if function["busy"]:
            raise Refused(409, "ResourceConflictException", "An update is in progress for resource")

    def shown(self, function):
        status = "InProgress" if function["busy"] else "Successful"
        function["busy"] = False
        return {**self.configuration(function), "LastUpdateStatus": status}

    def configuration(self, function):
        kept = {key: function[key] for key in ("Role", "MemorySize", "Timeout", "Environment", "RevisionId", "CodeSha256")}
        return {**kept, "FunctionArn": "arn:aws:lambda:eu-west-1:123456789012:function:" + function["name"], "State": "Active",
                "Version": "$LATEST", "Description": function["Description"], "PackageType": "Image",
                "Architectures": function["Architectures"], "ImageConfigResponse": {"ImageConfig": function["ImageConfig"]}}

    def create(self, body):
        name = body["FunctionName"]
        if name in self.functions:
            raise Refused(409, "ResourceConflictException", f"Function already exist: {name}")
        self.made["function"] += 1
        function = {**body, "name": name, "versions": {}, "aliases": {}, "last": None, "count": 0}
        function.setdefault("Description", "")
        function.setdefault("Architectures", ["x86_64"])
        function["CodeSha256"] = hashlib.sha256(body["Code"]["ImageUri"].encode()).hexdigest()
        self.functions[name] = function
        self.changed(function)
        return 201, self.configuration(function)

    def answer(self, method, path, query, body):
        rest = path.removeprefix(PREFIX)
        if rest == "" and method == "POST":
            return self.create(body)
        name, _, rest = rest.removeprefix("/").partition("/")
        name, _, qualifier = name.partition(":")
        function = self.functions.get(name)
        if function is None:
            raise gone("Function")
        if qualifier:
            return self.version(method, function, qualifier)
        kind, _, alias = rest.partition("/")
        return getattr(self, f"{method}_{kind or 'function'}")(function, body, alias or query)

    def version(self, method, function, number):
        if number not in function["versions"]:
            raise gone("Version")
        if method == "GET":
            return 200, function["versions"][number]
        for alias in function["aliases"].values():
            if number == alias["FunctionVersion"] or number in alias["RoutingConfig"]["AdditionalVersionWeights"]:
                self.violations.append(f"version {number} was removed with traffic")
                raise Refused(409, "ResourceConflictException", "Unable to delete version because an alias points to it")
        del function["versions"][number]
        return 204, None

    def GET_function(self, function, _body, _query):
        return 200, {"Configuration": self.shown(function), "Code": {"ImageUri": function["Code"]["ImageUri"]},
                     "Tags": function.get("Tags", {})}

    def DELETE_function(self, function, _body, _query):
        del self.functions[function["name"]]
        return 204, None

    def PUT_configuration(self, function, body, _query):
        self.not_busy(function)
        self.check(body, function["RevisionId"])
        function.update({key: value for key, value in body.items() if key != "RevisionId"})
        self.changed(function)
        return 200, self.configuration(function)

    def PUT_code(self, function, body, _query):
        self.not_busy(function)
        self.check(body, function["RevisionId"])
        function["Code"] = {"ImageUri": body["ImageUri"]}
        function["CodeSha256"] = hashlib.sha256(body["ImageUri"].encode()).hexdigest()
        self.changed(function)
        return 200, self.configuration(function)

    def POST_versions(self, function, body, _query):
        self.not_busy(function)
        self.check(body, function["RevisionId"])
        if body.get("CodeSha256") not in (None, function["CodeSha256"]):
            raise Refused(412, "PreconditionFailedException", "CodeSHA256 is different from current CodeSHA256 in $LATEST")
        if function["last"] and function["last"][0] == function["RevisionId"]:
            return 201, function["last"][1]  # nothing changed since: what was published then
        self.made["version"] += 1
        function["count"] += 1
        number = str(function["count"])
        made = {**self.configuration(function), "Version": number, "Description": body.get("Description", "")}
        function["versions"][number], function["last"] = made, (function["RevisionId"], made)
        return 201, made

    def GET_versions(self, function, _body, query):
        every = [{"Version": "$LATEST"}, *function["versions"].values()]
        start = int(query.get("Marker", ["0"])[0])
        answer = {"Versions": every[start:start + 2]}
        if start + 2 < len(every):
            answer["NextMarker"] = str(start + 2)
        return 200, answer

    def alias(self, function, name):
        if name not in function["aliases"]:
            raise gone("Alias")
        return function["aliases"][name]

    def GET_aliases(self, function, _body, name):
        return 200, self.alias(function, name)

    def DELETE_aliases(self, function, _body, name):
        function["aliases"].pop(name, None)
        return 204, None

    def POST_aliases(self, function, body, _query):
        if body["Name"] in function["aliases"]:
            raise Refused(409, "ResourceConflictException", "Alias already exists")
        self.made["alias"] += 1
        function["aliases"][body["Name"]] = {"Name": body["Name"], "RevisionId": None}
        return 201, self.lead(function, body["Name"], body)

    def PUT_aliases(self, function, body, name):
        self.check(body, self.alias(function, name)["RevisionId"])
        return 200, self.lead(function, name, body)

    def lead(self, function, name, body):
        weights = body.get("RoutingConfig", {}).get("AdditionalVersionWeights", {})
        for number in [body["FunctionVersion"], *weights]:
            if number not in function["versions"]:
                raise gone("Version")
        if len(weights) > 1 or any(not 0 <= weight <= 1 for weight in weights.values()):
            raise Refused(400, "InvalidParameterValueException", "one more version, with a weight from 0 to 1")
        alias = function["aliases"][name]
        alias.update(FunctionVersion=body["FunctionVersion"], RoutingConfig={"AdditionalVersionWeights": weights},
                     RevisionId=self.lock())
        return alias

    def drift(self, _which):
        """Somebody publishes a version by hand, and leads half of the invocations to it."""
        for function in self.functions.values():
            function["count"] += 1
            number = str(function["count"])
            function["versions"][number] = {**self.configuration(function), "Version": number, "Description": "by hand"}
            for name, alias in function["aliases"].items():
                weights = {"AdditionalVersionWeights": {number: 0.5}}
                self.lead(function, name, {"FunctionVersion": alias["FunctionVersion"], "RoutingConfig": weights})

    def state(self):
        there = {}
        for name, function in self.functions.items():
            described = {number: version["Description"] for number, version in function["versions"].items()}
            aliases = {alias: [described[of["FunctionVersion"]], {described[number]: weight for number, weight
                       in of["RoutingConfig"]["AdditionalVersionWeights"].items()}] for alias, of in function["aliases"].items()}
            there[name] = {"versions": sorted(described.values()), "aliases": aliases}
        return {"there": there, "made": self.made, "violations": self.violations}


def respond(world, method, url, _headers, body):
    try:
        status, answer = world.answer(method, unquote(url.path), parse_qs(url.query), json.loads(body or b"{}"))
        return status, {}, answer
    except Refused as refused:
        return refused.status, {"x-amzn-errortype": refused.code}, {"Type": "User", "Message": refused.message}


serve(World, respond)
