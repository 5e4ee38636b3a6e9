"""What Microsoft publishes of container apps, as a strict check of request bodies.

The published schema is for templates. Three things are other on the wire, and only they are changed here: there are no
template expressions; a field that is not described is an error; and `cpu` is a number (Microsoft's description of the API says
so, the schema for templates says integer). A change by JSON Merge Patch may take any field away by `null`.
"""
import copy
import json

import jsonschema

EXPRESSION = "https://schema.management.azure.com/schemas/common/definitions.json#/definitions/expression"
VERSION = "2025-07-01"
CHANGED = "_changed"


class Description:
    def __init__(self, path):
        with open(path) as file:
            published = json.load(file)
        published["definitions"]["ContainerResources"]["properties"]["cpu"] = {"type": "number"}
        self.whole = self.validator(published, nullable=False)
        self.change = self.validator(published, nullable=True)

    def validator(self, published, nullable):
        definitions = {name: strict(of, nullable=False) for name, of in published["definitions"].items()}
        # Only what is merged may be incomplete: a list is replaced whole, and so is what is in it.
        definitions.update({name + CHANGED: strict(of, nullable=True) for name, of in published["definitions"].items()})
        app = strict(published["resourceDefinitions"]["containerApps"], nullable)
        return jsonschema.Draft4Validator({**app, "definitions": definitions})

    def problems(self, body, name, is_change):
        """What is wrong with a body; empty where nothing is."""
        if not isinstance(body, dict):
            return ["the body is no object"]
        written = [field for field in ("apiVersion", "resources") if field in body]
        if written:
            return [f"{field}: not a part of a request" for field in written]
        whole = {"name": name, "type": "Microsoft.App/containerApps", **body, "apiVersion": VERSION}
        if is_change:
            whole.setdefault("properties", {})
        found = (self.change if is_change else self.whole).iter_errors(whole)
        return sorted(problem for error in found for problem in leaves(error))


def strict(schema, nullable):
    if not isinstance(schema, dict):
        return schema
    schema = copy.copy(schema)
    if "oneOf" in schema:
        left = [of for of in schema["oneOf"] if of.get("$ref") != EXPRESSION]
        if len(left) == 1:
            rest = {name: value for name, value in schema.items() if name != "oneOf"}
            schema = {**rest, **left[0]}
        else:
            schema["oneOf"] = [strict(of, nullable) for of in left]
    if "properties" in schema:
        properties = {name: strict(of, nullable) for name, of in schema["properties"].items()}
        schema["properties"] = {name: {"anyOf": [of, {"type": "null"}]} for name, of in properties.items()} if nullable else properties
        schema.setdefault("additionalProperties", False)
    if nullable and "$ref" in schema:
        schema["$ref"] += CHANGED
    if nullable:
        # What is merged into something need not be whole. Location is asked for in every body.
        schema["required"] = [name for name in schema.get("required", []) if name in ("location", "name", "type")]
        if not schema["required"]:
            del schema["required"]
    if isinstance(schema.get("items"), dict):
        schema["items"] = strict(schema["items"], nullable=False)
    if isinstance(schema.get("additionalProperties"), dict):
        schema["additionalProperties"] = strict(schema["additionalProperties"], nullable)
    return schema


def leaves(error):
    deep = [inner for inner in error.context if inner.validator != "type" or inner.instance is not None]
    if deep:
        for inner in deep:
            yield from leaves(inner)
    elif error.validator_value != "null":
        yield f"{'.'.join(str(part) for part in error.absolute_path)}: {error.message[:300]}"
