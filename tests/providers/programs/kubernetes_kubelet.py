"""What stands beside a real kubelet in the tests: ports for pods, and a gateway.

Without a network for pods they have the machine's own, so each gets a port of its own on 127.0.0.1: an admission webhook sets
it in what the API server stores, and the provider knows nothing of it. Users are led as by `kubernetes_node.py`, but to the
ports that the Endpoints say.

What it must never do: change anything of a pod but where it listens; say anything of a pod's state: that is the kubelet's.
"""
import base64
import json
import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from data_plane import free_port
from node import Api, Node

WEBHOOKS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"


class Elsewhere:
    """A pod that a kubelet runs, as the data plane wants to see it."""

    def __init__(self, port):
        self.port = port

    def count(self, more):
        pass


class Beside(Node):
    def __init__(self, options):
        self.admission = Admission(("127.0.0.1", 0), Asked)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(options["certificate"], options["key"])
        self.admission.socket = context.wrap_socket(
            self.admission.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self.admission.serve_forever, daemon=True).start()
        self.register(Api(options["server"], options["authority"], options["token"]), options["authority"])
        super().__init__({**options, "images": {}})

    def look(self):
        pods = self.api.items(self.pods)
        self.lead({pod["metadata"]["name"] for pod in pods if "deletionTimestamp" in pod["metadata"]})

    def pods_of(self, subset):
        names = super().pods_of(subset)
        with self.plane.lock:
            # Never taken out: who is not in the Endpoints any more is not led to, and may be at work on a request.
            self.plane.processes.update({name: Elsewhere(subset["ports"][0]["port"]) for name in names})
        return names

    def register(self, api, authority):
        with open(authority, "rb") as file:
            bundle = base64.b64encode(file.read()).decode()
        api.ask("POST", WEBHOOKS, {
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": "ports-of-the-tests"},
            "webhooks": [{
                "name": "ports.tests.example", "sideEffects": "None", "admissionReviewVersions": ["v1"],
                "failurePolicy": "Fail",
                "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"]}],
                "clientConfig": {"url": f"https://127.0.0.1:{self.admission.server_port}/", "caBundle": bundle}}]})


class Admission(ThreadingHTTPServer):
    daemon_threads = True
    # What reserves the ports that were given away, until the end.
    held = []


class Asked(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))["request"]
        spec = request["object"]["spec"]
        spec["hostNetwork"] = True
        for container in spec["containers"]:
            self.give_port(container)
        patch = [{"op": "replace", "path": "/spec", "value": spec}]
        body = json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": {
            "uid": request["uid"], "allowed": True, "patchType": "JSONPatch",
            "patch": base64.b64encode(json.dumps(patch).encode()).decode()}}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def give_port(self, container):
        port, held = free_port()
        self.server.held.append(held)
        for each in container.get("ports", []):
            each["containerPort"] = each["hostPort"] = port
        told = {"HOST": "127.0.0.1", "PORT": str(port)}
        for each in container.get("env", []):
            if each["name"] in told:
                each["value"] = told[each["name"]]
        # A kubelet asks at the pod's address, which is the machine's: nothing listens there.
        for way in ("httpGet", "tcpSocket"):
            if way in container.get("readinessProbe", {}):
                container["readinessProbe"][way]["host"] = "127.0.0.1"

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    Beside(json.load(open(sys.argv[1]))).run()
