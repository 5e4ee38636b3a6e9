"""Serves a model of a counterpart to the conformance kit; the models import it, and it knows of none of them.

A model is a class without arguments: `state()` is what the kit compares, `drift(which)` a change behind the host's back. One
process, one thread: what is answered is what is there. `POST /kit/reset` begins anew, `POST /kit/keep?as=N` keeps what is
there under a number, `POST /kit/keep?back=N` goes back to it, `GET /kit/state` shows it, `PUT /kit/drift/WHICH` changes it.
"""

import copy
import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import urlsplit

BODILESS = (204, 304)


def serve(model, respond, state=lambda world: world.state()):
    """Serves on the port that is the first argument, for ever. `respond(world, method, url, headers, body)` answers all else:
    with a status, headers, and a body: None, text, or what is written as JSON. `state` is for who has another `state()`."""
    world, kept = model(), {}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def served(self):
            nonlocal world
            url = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            status, headers, answer = 200, {}, {}
            if url.path == "/kit/reset":
                world = model()
            elif url.path == "/kit/keep":
                verb, number = url.query.split("=")
                if verb == "as":
                    kept[number] = copy.deepcopy(world)
                else:
                    world = copy.deepcopy(kept[number])
            elif url.path == "/kit/state":
                answer = state(world)
            elif url.path.startswith("/kit/drift"):
                world.drift(url.path.rpartition("/")[2])
            else:
                status, headers, answer = respond(world, self.command, url, self.headers, body)
            text = answer if isinstance(answer, str) else "" if answer is None else json.dumps(answer)
            self.send_response(status)
            for name, value in {"content-type": "application/json", **headers}.items():
                self.send_header(name, value)
            if status not in BODILESS:
                self.send_header("content-length", str(len(text.encode())))
            self.end_headers()
            try:
                if status not in BODILESS:
                    self.wfile.write(text.encode())
            except OSError:
                self.close_connection = True  # a fault: nobody waits for the answer any more

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = served

        def log_message(self, *_):
            pass

    HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
