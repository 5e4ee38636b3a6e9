"""The tasks of ECS services that run as containers: finds them in the engine, checks them as a target group says, and leads
to them.

Each task has a network of its own, as `awsvpc` gives it one, so all of them have the same port. Here that network has no way
out, so each task has an address on 127.0.0.1 from where connections are made inside of it.

ECS takes a task out of its target group before it ends it, and MiniStack does not: the address of a task that was well and takes
no connection any more, or ends before it answers, leads to another one of its service, as long as it takes until the load balancer
is told.

What it must never do: call a task healthy that did not answer; lead anybody to a container that ECS does not list.

    tasks = Tasks("/run/engine.sock", ecs)
    tasks.look()
    tasks.healthy("second-brain-aws-capture-r0", 8080, "/healthz", range(200, 400))
"""
import ctypes
import http.client
import itertools
import json
import os
import select
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

    def __init__(self, engine, ecs):
        self.engine, self.ecs, self.lock = engine, ecs, threading.Lock()
        self.known, self.services, self.serial = {}, {}, itertools.count(1)

    def look(self):
        with self.lock:
            running = self.running()
            for arn in set(self.known) - set(running):
                self.known.pop(arn).close(TOLD)
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
        if not task.was_well:
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
        self.well, self.was_well, self.failed, self.next = False, False, 0, 0.0

    def check(self, port, path, codes, others):
        with self.lock:
            if self.relay is None:
                self.port, self.held = free_port()
                self.relay = Relay(self.port, self.pid, port, lambda: others(self))
            if time.monotonic() >= self.next:
                answers = self.answers(path, codes)
                self.failed = 0 if answers else self.failed + 1
                self.well = answers or (self.well and self.failed < FAILURES)
                self.was_well = self.was_well or self.well
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
    """One connection. This thread is for it alone: it goes into a network and never comes back."""

    def handle(self):
        networks = [self.server.network, *self.server.others()]
        inside, networks = self.connected(networks)
        sent, answered, more = bytearray(), False, True
        try:
            while True:
                readable, _, _ = select.select([inside, self.request] if more else [inside], [], [])
                if self.request in readable:
                    piece = self.request.recv(PIECE)
                    more = bool(piece)
                    sent += b"" if answered else piece
                    # Whether that gets there shows when the answer is read.
                    forward(inside, piece)
                if inside in readable:
                    piece = receive(inside)
                    if piece:
                        answered = True
                        self.request.sendall(piece)
                    elif answered or not sent or len(networks) < 2:
                        return
                    else:
                        inside.close()
                        inside, networks = self.connected(networks[1:])
                        forward(inside, sent)
                        if not more:
                            forward(inside, b"")
        except OSError:
            return  # whoever asked is gone
        finally:
            inside.close()

    def connected(self, networks):
        """A connection inside of the first of the networks that takes one, and that network with those behind it."""
        for n, network in enumerate(networks):
            try:
                if libc.setns(network, NEW_NETWORK):
                    raise OSError(ctypes.get_errno(), "setns")
                inside = socket.create_connection(("127.0.0.1", self.server.inside), timeout=5)
                inside.settimeout(None)
                return inside, networks[n:]
            except OSError:
                if n + 1 == len(networks):
                    raise


def forward(sink, piece):
    """Sends a piece on; an empty one ends that side."""
    try:
        if piece:
            sink.sendall(piece)
        else:
            sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def receive(source):
    try:
        return source.recv(PIECE)
    except OSError:
        return b""
