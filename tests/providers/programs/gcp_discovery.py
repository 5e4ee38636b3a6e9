"""Checks requests by Google's own description of an API: the discovery document that google-api-python-client brings along.

Path, method, query and body of each request, to the last field: what the document does not know, or knows as another type, is
an error, as it is at Google.
"""

import json
import os
import re

import googleapiclient

# What every method of Google's APIs takes beside its own parameters is in the document, but for this one.
ALTERNATIVE = "$alt"
FORMATS = {
    "int64": r"-?[0-9]+",
    "uint64": r"[0-9]+",
    "google-duration": r"-?[0-9]+(\.[0-9]{1,9})?s",
    "google-datetime": r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+(Z|[+-][0-9:]+)",
    "google-fieldmask": r"[A-Za-z0-9_.,]*",
    "byte": r"[A-Za-z0-9+/_=-]*",
}


class Wrong(Exception):
    """A request that the description does not allow: the field, and why."""

    def __init__(self, field, why):
        super().__init__(f"{field}: {why}")
        self.field, self.why = field, why


class Description:
    """One API."""

    def __init__(self, name):
        folder = os.path.join(os.path.dirname(googleapiclient.__file__), "discovery_cache", "documents")
        with open(os.path.join(folder, f"{name}.json"), encoding="utf-8") as file:
            self.document = json.load(file)
        self.schemas = self.document["schemas"]
        self.methods = []
        self.collect(self.document["resources"])

    def collect(self, resources):
        for resource in resources.values():
            for method in resource.get("methods", {}).values():
                path = re.sub(r"\\\{\w+\\\}", r"([^/:]+)", re.escape(method["flatPath"]))
                self.methods.append((method["httpMethod"], re.compile(path), method))
            self.collect(resource.get("resources", {}))

    def check(self, verb, path, query, body):
        """The method's id, and the values in its path.

        `query` is a list of pairs. Raises `Wrong`; `LookupError` where there is no such method.
        """
        for method_verb, pattern, method in self.methods:
            found = pattern.fullmatch(path.lstrip("/"))
            if found and method_verb == verb:
                self.check_query(method, query)
                if "request" in method:
                    self.check_value("", {"$ref": method["request"]["$ref"]}, body)
                elif body is not None:
                    raise Wrong("body", "this method takes none")
                return method["id"], found.groups()
        raise LookupError(f"{verb} {path}")

    def check_query(self, method, query):
        known = {**self.document["parameters"], **method.get("parameters", {})}
        seen = set()
        for name, value in query:
            parameter = known.get(name)
            if name == ALTERNATIVE:
                continue
            if parameter is None or parameter.get("location") != "query":
                raise Wrong(name, f'Invalid JSON payload received. Unknown name "{name}": Cannot bind query parameter.')
            if name in seen and not parameter.get("repeated"):
                raise Wrong(name, "it is there twice")
            seen.add(name)
            kind = parameter["type"]
            if kind == "boolean" and value not in ("true", "false"):
                raise Wrong(name, f"Invalid value at '{name}' (TYPE_BOOL), \"{value}\"")
            if kind == "integer" and not re.fullmatch("-?[0-9]+", value):
                raise Wrong(name, f"Invalid value at '{name}' (TYPE_INT32), \"{value}\"")
            self.check_format(name, parameter, value)
            if name == "updateMask":
                for path in value.split(","):
                    self.check_mask(path, {"$ref": method["request"]["$ref"]})

    def check_mask(self, path, schema):
        for part in path.split("."):
            schema = self.schemas.get(schema.get("$ref"), schema)
            if "additionalProperties" in schema:
                return
            camel = re.sub(r"_([a-z])", lambda found: found.group(1).upper(), part)
            schema = schema.get("properties", {}).get(camel)
            if schema is None:
                raise Wrong("updateMask", f"there is no field {path}")

    def check_format(self, at, schema, value):
        pattern = FORMATS.get(schema.get("format"))
        if pattern and not re.fullmatch(pattern, value):
            raise Wrong(at, f"Invalid value at '{at}' ({schema['format']}), \"{value}\"")
        if "enum" in schema and value not in schema["enum"]:
            raise Wrong(at, f"Invalid value at '{at}', \"{value}\"")

    def check_value(self, at, schema, value):
        if "$ref" in schema:
            schema = self.schemas[schema["$ref"]]
        kind = schema.get("type", "any")
        if kind == "any":
            return
        python = {"object": dict, "array": list, "string": str, "boolean": bool}.get(kind)
        if kind in ("integer", "number"):
            is_number = isinstance(value, int) or (kind == "number" and isinstance(value, float))
            if isinstance(value, bool) or not is_number:
                raise Wrong(at, f"Invalid value at '{at}' ({schema.get('format', kind)}), {json.dumps(value)}")
            if schema.get("format") == "int32" and not -(2**31) <= value < 2**31:
                raise Wrong(at, f"Invalid value at '{at}' (int32), {value}")
            return
        if not isinstance(value, python):
            raise Wrong(at, f"Invalid value at '{at}' ({kind}), {json.dumps(value)[:80]}")
        if kind == "string":
            self.check_format(at, schema, value)
        elif kind == "array":
            for n, item in enumerate(value):
                self.check_value(f"{at}[{n}]", schema["items"], item)
        elif kind == "object":
            for name, item in value.items():
                inner = schema.get("properties", {}).get(name, schema.get("additionalProperties"))
                path = f"{at}.{name}".lstrip(".")
                if inner is None:
                    raise Wrong(
                        path, f"Invalid JSON payload received. Unknown name \"{name}\" at '{at}': Cannot find field."
                    )
                self.check_value(path, inner, item)
