"""A probe in Python: does the service answer, and what does it say of itself?

Built by componentize-py (see README.md).
"""

import json

import wit_world
from componentize_py_types import Err
from wit_world.imports import http, log
from wit_world.imports.http import Request
from wit_world.imports.log import Level
from wit_world.imports.types import Verdict
from wit_world.exports.probe import Info, Measurement, ValueInfo


class Probe(wit_world.exports.Probe):
    def describe(self):
        return Info([ValueInfo("latency", "ms", "until the whole answer was there")], [])

    def check(self, cx, target):
        path = json.loads(cx.config).get("path", "/health")
        try:
            response = http.send(Request("GET", target.url + path, [], b"", None))
        except Err as refused:
            # An `err` of the host arrives as an exception that holds the WIT variant.
            word = type(refused.value).__name__.removeprefix("Error_").lower()
            return Measurement(Verdict.ERROR, f"{word}: {refused.value.value}", [], [])
        log.write(Level.INFO, f"{path} was answered with {response.status}")
        latency = response.timing.total / 1000
        verdict = Verdict.PASS if response.status < 400 else Verdict.FAIL
        body = response.body.decode(errors="replace")
        return Measurement(verdict, f"status {response.status}", [("latency", latency)], [("body", body)])
