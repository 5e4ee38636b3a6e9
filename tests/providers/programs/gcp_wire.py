"""A third client as a reference: google-cloud-run, Google's newer client, made from the API's protobuf definitions.

gcp_wire.py REQUESTS    what basb-host sent, a JSON object a line: method, path, query, body

Each request is read into the types of that client, which take no field that they do not have, and sent by it to a server that
only listens. Prints what was compared and what differs, as JSON. The client writes words of a list as numbers; they are made
words again before they are compared. It also leaves out what is 0 or false, as protobuf does: that is the default.
"""

import json
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qsl, urlsplit

from google.auth.credentials import AnonymousCredentials
from google.cloud import run_v2
from google.cloud.run_v2.services.revisions.transports import RevisionsRestTransport
from google.cloud.run_v2.services.services.transports import ServicesRestTransport
from google.longrunning import operations_pb2
from google.protobuf import field_mask_pb2, json_format

heard = []


class Listener(BaseHTTPRequestHandler):
    def answer(self):
        length = int(self.headers.get("content-length") or 0)
        heard.append((self.command, self.path, self.rfile.read(length)))
        body = b"{}"
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PATCH = do_DELETE = answer

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", 0), Listener)
threading.Thread(target=server.serve_forever, daemon=True).start()
where = {
    "host": f"127.0.0.1:{server.server_port}",
    "url_scheme": "http",
    "credentials": AnonymousCredentials(),
}
services = run_v2.ServicesClient(transport=ServicesRestTransport(**where))
revisions = run_v2.RevisionsClient(transport=RevisionsRestTransport(**where))


def service(body):
    return run_v2.Service(json_format.ParseDict(body, run_v2.Service.pb(run_v2.Service())))


def send(method, path, query, body):
    """The same request by the reference; its kind."""
    name, flag = path.removeprefix("/v2/"), query.get("validateOnly") == "true"
    dry = " validateOnly" if flag else ""
    if "/operations/" in name:
        services.get_operation(operations_pb2.GetOperationRequest(name=name))
        return "operation"
    if "/revisions" in name:
        if name.endswith("/revisions"):
            of = {"parent": name.removesuffix("/revisions"), "page_size": int(query.get("pageSize", 0))}
            revisions.list_revisions(run_v2.ListRevisionsRequest(**of, page_token=query.get("pageToken", "")))
            return "revisions"
        if method == "DELETE":
            revisions.delete_revision(run_v2.DeleteRevisionRequest(name=name, etag=query.get("etag", "")))
            return "delete revision"
        revisions.get_revision(run_v2.GetRevisionRequest(name=name))
        return "revision"
    if method == "POST":
        request = {"parent": name.removesuffix("/services"), "service_id": query["serviceId"], "validate_only": flag}
        services.create_service(run_v2.CreateServiceRequest(service=service(body), **request))
        return "create" + dry
    if method == "PATCH":
        # Their client writes the path from the service's name.
        named = service({**body, "name": name})
        mask = field_mask_pb2.FieldMask(paths=query["updateMask"].split(","))
        services.update_service(run_v2.UpdateServiceRequest(service=named, update_mask=mask, validate_only=flag))
        return f"patch {query['updateMask']}" + dry
    if method == "DELETE":
        services.delete_service(run_v2.DeleteServiceRequest(name=name, etag=query.get("etag", "")))
        return "delete"
    if name.endswith("/services"):
        of = {"parent": name.removesuffix("/services"), "page_size": int(query.get("pageSize", 0))}
        services.list_services(run_v2.ListServicesRequest(**of, page_token=query.get("pageToken", "")))
        return "services"
    services.get_service(run_v2.GetServiceRequest(name=name))
    return "service"


def told(method, path, query, body):
    """What a request asks for: `$alt` and `alt` say in which form the answer is wanted."""
    query = {key: value for key, value in query.items() if key not in ("$alt", "alt")}
    return {"method": method, "path": path, "query": query, "body": body}


def spare(of):
    """Without what is 0 or false."""
    if isinstance(of, dict):
        return {key: spare(value) for key, value in of.items() if not isinstance(value, (bool, int)) or value}
    return [spare(value) for value in of] if isinstance(of, list) else of


def words(body):
    """Their body in words, without the name that the path says already."""
    if not body:
        return None
    read = json_format.Parse(body, run_v2.Service.pb(run_v2.Service()))
    read.name = ""
    return json_format.MessageToDict(read)


kinds, differ = {}, []
with open(sys.argv[1], encoding="utf-8") as file:
    for line in file:
        ours = json.loads(line)
        query = dict(ours["query"])
        heard.clear()
        kind = send(ours["method"], ours["path"], query, ours["body"])
        kinds[kind] = kinds.get(kind, 0) + 1
        (method, url, body), = heard
        parts = urlsplit(url)
        # Booleans are written in both ways; the API takes both.
        theirs = {key: re.sub("^(True|False)$", lambda of: of[0].lower(), value) for key, value in parse_qsl(parts.query)}
        want = told(ours["method"], ours["path"], query, spare(ours["body"]))
        have = told(method, parts.path, theirs, words(body))
        if want != have:
            differ.append({"ours": want, "theirs": have})
print(json.dumps({"compared": kinds, "differ": differ}))
