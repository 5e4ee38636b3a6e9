"""A node for tests, and a gateway for tests: what a real cluster has and a bare API server has not.

The node runs the container of each pod as a process of this machine, on a port of its own, and tells the API server what
a kubelet would: that the pod runs, and since when it is ready by its readiness probe. The gateway leads users by what the
API server says: to the pods that the Endpoints of users' Service list, or by the weights of an HTTPRoute, which it accepts.

A preview port leads to the revision whose Deployment appeared last.

What it must never do: lead anybody by anything but Services, Endpoints, HTTPRoutes and their labels; call a pod ready
whose probe was not answered.
"""
import http.client
import json
import ssl
import sys
import threading
import time
import traceback
from urllib.parse import urlparse

from data_plane import DataPlane

LOOK = 0.1
ROUTES = "/apis/gateway.networking.k8s.io/v1/namespaces/%s/httproutes"


class Api:
    """The API server, by one kept connection for each thread."""

    def __init__(self, server, authority, token):
        self.at, self.token, self.local = urlparse(server), token, threading.local()
        self.context = ssl.create_default_context(cafile=authority)

    def ask(self, method, path, body=None, form="application/merge-patch+json"):
        for again in (True, False):
            link = getattr(self.local, "link", None) or http.client.HTTPSConnection(
                self.at.hostname, self.at.port, context=self.context, timeout=30)
            self.local.link = link
            headers = {"authorization": f"Bearer {self.token}", "accept": "application/json",
                       "content-type": form if method == "PATCH" else "application/json"}
            try:
                link.request(method, path, None if body is None else json.dumps(body), headers)
                answer = link.getresponse()
                text = answer.read()
                break
            except (OSError, http.client.HTTPException):
                link.close()
                self.local.link = None
                if not again:
                    raise
        if answer.status == 404 or answer.status == 409:
            return None
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {text[:300]}")
        return json.loads(text)

    def items(self, path):
        return (self.ask("GET", path) or {}).get("items") or []


class Node:
    def __init__(self, options):
        self.namespace, self.fronts = options["namespace"], options["fronts"]
        self.api = Api(options["server"], options["authority"], options["token"])
        self.plane = DataPlane(options["images"], grace=5.0)
        self.seen, self.told, self.ending, self.pods, self.serial = {}, {}, set(), f"/api/v1/namespaces/{self.namespace}/pods", 0
        for service, ports in self.fronts.items():
            self.plane.front(service, ports["users"])
            self.plane.front(f"preview {service}", ports["preview"])

    def run(self):
        while True:
            try:
                self.look()
            except Exception:
                traceback.print_exc()
            time.sleep(LOOK)

    def look(self):
        pods = self.api.items(self.pods)
        going = {pod["metadata"]["name"] for pod in pods if "deletionTimestamp" in pod["metadata"]}
        self.lead(going)
        for pod in pods:
            self.care(pod, pod["metadata"]["name"] in going)

    # Pods, as a kubelet sees to them.

    def care(self, pod, going):
        name, status = pod["metadata"]["name"], pod.get("status", {})
        path = f"{self.pods}/{name}"
        if going:
            if name not in self.ending:
                self.ending.add(name)
                threading.Thread(target=self.end, args=(name, path), daemon=True).start()
            return
        if not pod["spec"].get("nodeName"):
            target = {"apiVersion": "v1", "kind": "Node", "name": "loopback"}
            self.api.ask("POST", f"{path}/binding", {
                "apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target})
            return
        container = pod["spec"]["containers"][0]
        if name not in self.told:
            plain = lambda text: text.replace("$$", "$")
            env = {each["name"]: plain(each.get("value", "")) for each in container.get("env", [])}
            self.plane.start(name, container["image"], [plain(word) for word in container.get("args", [])], env)
            self.serial += 1
            # No address of this machine: the API server takes none of its own for Endpoints. It only tells pods apart.
            self.told[name] = {"ip": f"10.99.{self.serial // 250}.{1 + self.serial % 250}", "was": None}
        state, said = self.plane.state(name)
        ready = state == "ready" and self.answers(name, container.get("readinessProbe", {}))
        now = (ready, state == "ended")
        if self.told[name]["was"] == now and status.get("phase") == "Running":
            return
        self.told[name]["was"] = now
        self.tell(path, name, container, ready, said if state == "ended" else None)

    def tell(self, path, name, container, ready, ended):
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        word = "True" if ready else "False"
        conditions = [{"type": kind, "status": value, "lastTransitionTime": at} for kind, value in
                      [("Initialized", "True"), ("Ready", word), ("ContainersReady", word), ("PodScheduled", "True")]]
        state = {"running": {"startedAt": at}}
        if ended is not None:
            state = {"waiting": {"reason": "CrashLoopBackOff", "message": ended}}
        ip = self.told[name]["ip"]
        self.api.ask("PATCH", f"{path}/status", {"status": {
            "phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "hostIP": "127.0.0.1", "startTime": at,
            "conditions": conditions, "containerStatuses": [{
                "name": container["name"], "image": container["image"], "imageID": "", "ready": ready, "started": ready,
                "restartCount": 0, "state": state}]}})

    def answers(self, name, probe):
        path = probe.get("httpGet", {}).get("path")
        if path is None:
            return True
        process = self.plane.processes.get(name)
        link = http.client.HTTPConnection("127.0.0.1", process.port, timeout=2)
        try:
            link.request("GET", path)
            return 200 <= link.getresponse().status < 400
        except (OSError, http.client.HTTPException):
            return False
        finally:
            link.close()

    def end(self, name, path):
        try:
            self.plane.end(name, wait=True)
            self.api.ask("DELETE", path, {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0})
        except Exception:
            traceback.print_exc()
            self.ending.discard(name)

    # Users, as Services and a gateway lead them.

    def lead(self, going):
        services = f"/api/v1/namespaces/{self.namespace}"
        ready = {}
        for endpoints in self.api.items(f"{services}/endpoints"):
            names = [name for subset in endpoints.get("subsets") or [] for name in self.pods_of(subset)]
            ready[endpoints["metadata"]["name"]] = [name for name in names if name not in going]
        routes = self.api.items(ROUTES % self.namespace)
        known = self.api.items(f"{services}/services")
        deployments = self.api.items(f"/apis/apps/v1/namespaces/{self.namespace}/deployments")
        labels = lambda thing: thing["metadata"].get("labels", {})
        for service in self.fronts:
            users = [route for route in routes if f"{service}.example" in route["spec"].get("hostnames", [])
                     and not any("headers" in match for match in route["spec"]["rules"][0].get("matches", []))]
            if users:
                weights = self.by_route(users[0], ready)
            else:
                front = next((each["metadata"]["name"] for each in known if labels(each).get("basb-host/service") == service
                              and "basb-host/revision" not in labels(each)), None)
                weights = {pod: 1 for pod in ready.get(front, [])}
            self.plane.lead(service, weights)
            newest = [each for each in deployments if labels(each).get("basb-host/service") == service
                      and "deletionTimestamp" not in each["metadata"]]
            for each in newest:
                self.seen.setdefault(each["metadata"]["uid"], len(self.seen))
            newest.sort(key=lambda each: self.seen[each["metadata"]["uid"]])
            candidate = newest[-1]["metadata"]["name"] if newest else None
            self.plane.lead(f"preview {service}", {pod: 1 for pod in ready.get(candidate, [])})
        # Accepted is what it already goes by.
        for route in routes:
            self.accept(route)

    def pods_of(self, subset):
        return [each["targetRef"]["name"] for each in subset.get("addresses") or [] if "targetRef" in each]

    def by_route(self, route, ready):
        weights = {}
        for backend in route["spec"]["rules"][0].get("backendRefs", []):
            pods = ready.get(backend["name"], [])
            for pod in pods:
                weights[pod] = backend.get("weight", 1) * 60 // len(pods)
        return weights

    def accept(self, route):
        generation = route["metadata"]["generation"]
        parents = route.get("status", {}).get("parents", [])
        if parents and parents[0]["conditions"][0]["observedGeneration"] == generation:
            return
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        conditions = [{"type": kind, "status": "True", "reason": kind, "message": "", "lastTransitionTime": at,
                       "observedGeneration": generation} for kind in ("Accepted", "ResolvedRefs")]
        name = route["metadata"]["name"]
        self.api.ask("PATCH", f"{ROUTES % self.namespace}/{name}/status", {"status": {"parents": [
            {"parentRef": each, "controllerName": "tests.example/gateway", "conditions": conditions}
            for each in route["spec"].get("parentRefs", [])]}})


if __name__ == "__main__":
    Node(json.load(open(sys.argv[1]))).run()
