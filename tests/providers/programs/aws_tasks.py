"""The tasks of ECS services that run as containers: finds them in the engine, checks them as a target group says, and leads
to them.

Each task has a network of its own, as `awsvpc` gives it one, so all of them have the same port. Here that network has no way
out, so each task has an address on 127.0.0.1 from where connections are made inside of it.

ECS takes a task out of its target group before it ends it, and MiniStack does not. Where somebody else's load balancer leads to the
addresses (`leads_on`), the address of a task that has ended leads to another one of its service for a while, as long as it takes
until the load balancer is told.

What it must never do: call a task healthy that did not answer; lead anybody to a container that ECS does not list.

    tasks = Tasks("/run/engine.sock", ecs, leads_on=False)
    tasks.look()
    tasks.healthy("second-brain-aws-capture-r0", 8080, "/healthz", range(200, 400))
"""
import ctypes
import http.client
import itertools
import json
import os
import socket
import socketserver
import threading
import time
from urllib.parse import quote

from data_plane import PIECE, free_port

LABEL, NEW_NETWORK = "com.amazonaws.ecs.task-arn", 0x4000_0000
BETWEEN, FAILURES = 1.0, 2  # seconds between two checks of a healthy target, and how many it may fail
TOLD = 10.0  # seconds until a load balancer leads nobody to a task that has ended
libc = ctypes.CDLL(None, use_errno=True)


class Tasks:
    """The tasks of a cluster, by service."""

    def __init__(self, engine, ecs, leads_on):
        self.engine, self.ecs, self.leads_on, self.lock = engine, ecs, leads_on, threading.Lock()
        self.known, self.services, self.serial = {}, {}, itertools.count(1)

    def look(self):
        with self.lock:
            running = self.running()
            for arn in set(self.known) - set(running):
                self.known.pop(arn).close(TOLD if self.leads_on else 0)
            for arn, pid in running.items():
                if arn not in self.known:
                    self.known[arn] = Task(pid, next(self.serial))
            services, arns = {}, []
            for page in self.ecs.get_paginator("list_tasks").paginate(cluster="main"):
                arns += page["taskArns"]
            for n in range(0, len(arns), 100):
                for task in self.ecs.describe_tasks(cluster="main", tasks=arns[n:n + 100])["tasks"]:
                    if task["lastStatus"] == "RUNNING" and task["taskArn"] in self.known:
                        known = self.known[task["taskArn"]]
                        known.service = task["group"].removeprefix("service:")
                        services.setdefault(known.service, []).append(known)
            self.services = services

    def healthy(self, service, port, path, codes):
        return [task for task in self.services.get(service, []) if task.check(port, path, codes, self.others)]

    def others(self, task):
        """The networks of the other tasks of its service, where one may be led instead."""
        if not self.leads_on:
            return []
        relays = [other.relay for other in self.services.get(task.service, []) if other is not task]
        return [relay.network for relay in relays if relay is not None]

    def running(self):
        """The first process of each container that runs a task, by the task's ARN."""
        only = quote(json.dumps({"label": [LABEL], "status": ["running"]}))
        found = {}
        for container in self.ask(f"/containers/json?filters={only}") or []:
            arn = container["Labels"][LABEL]
            if arn in self.known:
                found[arn] = self.known[arn].pid
            else:
                # Between the list and this it may have ended.
                pid = ((self.ask(f"/containers/{container['Id']}/json") or {}).get("State") or {}).get("Pid")
                if pid:
                    found[arn] = pid
        return found

    def ask(self, path):
        link = http.client.HTTPConnection("engine", timeout=30)
        link.sock = socket.socket(socket.AF_UNIX)
        try:
            link.sock.connect(self.engine)
            link.request("GET", path)
            answer = link.getresponse()
            text = answer.read()
            return json.loads(text) if answer.status == 200 else None
        finally:
            link.close()


class Task:
    """A task, its address, and whether it takes requests."""

    def __init__(self, pid, serial):
        self.pid, self.address = pid, f"10.0.{serial // 250}.{1 + serial % 250}"
        self.service, self.relay, self.port, self.held, self.lock = None, None, None, None, threading.Lock()
        self.well, self.failed, self.next = False, 0, 0.0

    def check(self, port, path, codes, others):
        with self.lock:
            if self.relay is None:
                self.port, self.held = free_port()
                self.relay = Relay(self.port, self.pid, port, lambda: others(self))
            if time.monotonic() >= self.next:
                answers = self.answers(path, codes)
                self.failed = 0 if answers else self.failed + 1
                self.well = answers or (self.well and self.failed < FAILURES)
                # One that is not well yet is asked whenever somebody looks.
                self.next = time.monotonic() + (BETWEEN if self.well else 0)
            return self.well

    def answers(self, path, codes):
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
        try:
            link.request("GET", path)
            return link.getresponse().status in codes
        except (OSError, http.client.HTTPException):
            return False
        finally:
            link.close()

    def count(self, _):
        """Requests under way hold up nothing: whoever ends the container waits for them, or does not."""

    def close(self, later):
        with self.lock:
            if self.relay is not None:
                ending = threading.Timer(later, self.relay.end, (self.held,))
                ending.daemon = True
                ending.start()


class Relay(socketserver.ThreadingTCPServer):
    """Connects inside of a process's network to whom connects outside of it."""
    allow_reuse_address = daemon_threads = True
    request_queue_size = 128

    def __init__(self, port, pid, inside, others):
        super().__init__(("127.0.0.1", port), Inside)
        self.network, self.inside, self.others = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY), inside, others
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def end(self, held):
        self.shutdown()
        self.server_close()
        os.close(self.network)
        held.close()


class Inside(socketserver.BaseRequestHandler):
    def handle(self):
        with self.connected() as inside:
            inside.settimeout(None)
            back = threading.Thread(target=pump, args=(inside, self.request), daemon=True)
            back.start()
            pump(self.request, inside)
            back.join()

    def connected(self):
        """This thread is for this one connection: it goes into a network and never comes back."""
        networks = [self.server.network, *self.server.others()]
        for network in networks:
            try:
                if libc.setns(network, NEW_NETWORK):
                    raise OSError(ctypes.get_errno(), "setns")
                return socket.create_connection(("127.0.0.1", self.server.inside), timeout=5)
            except OSError:
                if network == networks[-1]:
                    raise


def pump(source, sink):
    try:
        while piece := source.recv(PIECE):
            sink.sendall(piece)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        for end in (source, sink):
            end.close()
