"""Runs what a model of a cloud was told to run, and leads users there. The models import it; it knows of none of them.

A revision is one process, of the command that the test gives for its image. A front is a port that users come to: a
service, or one revision's preview. It shares requests out by weights, smoothly: of any hundred in a row each revision gets
its share.

What it must never do: listen beyond 127.0.0.1; hold a body back until it is whole; cut a request off because shares
changed or a revision is ended; lead anybody to a revision without a share.

    plane = DataPlane({"registry.example/web@sha256:…": ["/bin/web", "--port", "{port}"]})
    plane.start("web/r1", "registry.example/web@sha256:…", ["--release", "1"], {"COLOUR": "blue"})
    plane.front("web", 15001)
    plane.lead("web", {"web/r1": 90, "web/r2": 10})
"""
import fcntl
import http.client
import os
import socket
import subprocess
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORTS, PIECE = range(18_000, 21_000), 64 * 1024
# What concerns one connection, and not what is sent over it (RFC 9110, 7.6.1).
OF_CONNECTION = {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}


class DataPlane:
    """The processes and the fronts of one cloud."""

    def __init__(self, commands, grace=10.0):
        """`commands`: words by image; `{port}` in one stands for the port. `grace`: seconds until an end is forced."""
        self.commands, self.grace = commands, grace
        self.lock = threading.Lock()
        self.processes, self.fronts = {}, {}

    def start(self, revision, image, args=(), env=None):
        """Starts a revision, once; an image without a command is one that cannot be pulled."""
        with self.lock:
            if revision in self.processes:
                return
            self.processes[revision] = Process(image, self.commands.get(image), args, env or {})

    def state(self, revision):
        """`starting`, `ready`, `ended` or `absent`, and what is to be said of that."""
        with self.lock:
            process = self.processes.get(revision)
        return process.state() if process else ("absent", "")

    def end(self, revision, wait=False):
        """Leads nobody there any more, lets requests under way finish, and ends the process."""
        with self.lock:
            process = self.processes.pop(revision, None)
        if process:
            ending = threading.Thread(target=process.end, args=(self.grace,), daemon=True)
            ending.start()
            ending.join(None if wait else 0)

    def front(self, name, port):
        """Listens; nobody is led anywhere yet."""
        server = Front(("127.0.0.1", port), Passing)
        server.plane, server.weights, server.credits = self, {}, {}
        with self.lock:
            self.fronts[name] = server
        threading.Thread(target=server.serve_forever, daemon=True).start()

    def lead(self, name, weights):
        """The shares of a front: all at once, for every request from now on."""
        with self.lock:
            if name in self.fronts:
                self.fronts[name].weights = {revision: weight for revision, weight in weights.items() if weight > 0}

    def choose(self, front):
        """The process for the next request, which counts as under way from here on."""
        with self.lock:
            total = sum(front.weights.values())
            if not total:
                return
            for revision, weight in front.weights.items():
                front.credits[revision] = front.credits.get(revision, 0) + weight
            chosen = max(front.weights, key=lambda revision: front.credits[revision])
            front.credits[chosen] -= total
            process = self.processes.get(chosen)
            if process and process.port:
                process.count(1)
                return process


class Process:
    """One process, and how many requests are under way to it."""

    def __init__(self, image, words, args, env):
        self.under_way, self.idle, self.answered = 0, threading.Condition(), False
        self.child, self.port, self.why = None, None, f"Image '{image}' not found."
        if words is None:
            return
        self.port, self.held = free_port()
        words, values = ([text.replace("{port}", str(self.port)) for text in all_of] for all_of in
                         ([*words, *args], env.values()))
        env = {**os.environ, **dict(zip(env, values)), "HOST": "127.0.0.1", "PORT": str(self.port)}
        self.output = tempfile.TemporaryFile()
        try:
            # In this program's own process group: whoever ends the group ends it too.
            self.child = subprocess.Popen(words, env=env, stdin=subprocess.DEVNULL, stdout=self.output, stderr=self.output)
        except OSError as error:
            self.why = str(error)

    def state(self):
        if self.child is None:
            return "ended", self.why
        status = self.child.poll()
        if status is not None:
            return "ended", f"it ended with status {status}: {self.said()}"
        if not self.answered:
            with socket.socket() as probe:
                probe.settimeout(1)
                self.answered = probe.connect_ex(("127.0.0.1", self.port)) == 0
        return ("ready" if self.answered else "starting"), ""

    def said(self):
        self.output.seek(0)
        lines = self.output.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "nothing"

    def count(self, more):
        with self.idle:
            self.under_way += more
            self.idle.notify_all()

    def end(self, grace):
        with self.idle:
            self.idle.wait_for(lambda: self.under_way == 0, grace)
        if self.child is not None:
            self.child.terminate()
            try:
                self.child.wait(grace)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
        if self.port:
            self.held.close()


def free_port():
    """A port outside of the range of outgoing connections, reserved by a locked file among all tests of the machine."""
    folder = os.path.join(tempfile.gettempdir(), "basb-counterparts-ports")
    os.makedirs(folder, exist_ok=True)
    first = os.getpid() % 150 * 20
    for n in range(len(PORTS)):
        port = PORTS[(first + n) % len(PORTS)]
        held = open(os.path.join(folder, str(port)), "a")
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", port))
            return port, held
        except OSError:
            held.close()
    raise RuntimeError("no port is free")


class Front(ThreadingHTTPServer):
    daemon_threads = True
    address_family = socket.AF_INET
    request_queue_size = 128


class Passing(BaseHTTPRequestHandler):
    """Passes one connection's requests on, and what comes back as it comes."""
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def passed(self):
        process = self.server.plane.choose(self.server)
        if process is None:
            self.close_connection = True
            return self.say(503, b"no revision has this traffic, or it does not run")
        try:
            self.exchange(process)
        finally:
            process.count(-1)

    def exchange(self, process):
        upstream = http.client.HTTPConnection("127.0.0.1", process.port, timeout=60)
        begun = False
        try:
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            chunked = "chunked" in self.headers.get("transfer-encoding", "").lower()
            more = [("transfer-encoding", "chunked")] if chunked else []
            for name, value in [pair for pair in self.headers.items() if pair[0].lower() not in OF_CONNECTION] + more:
                upstream.putheader(name, value)
            upstream.endheaders()
            for piece in self.pieces(chunked):
                upstream.send(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
            if chunked:
                upstream.send(b"0\r\n\r\n")
            response = upstream.getresponse()
            begun = True
            self.answer(response)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close_connection = True
            if not begun:
                self.say(502, str(error).encode())
        finally:
            upstream.close()

    def pieces(self, chunked):
        left = int(self.headers.get("content-length") or 0)
        while chunked and (left := int(self.rfile.readline().split(b";")[0], 16)):
            yield self.rfile.read(left)
            self.rfile.readline()
        if chunked:
            while self.rfile.readline() not in (b"\r\n", b"\n", b""):
                pass
        while left:
            piece = self.rfile.read1(min(left, PIECE))
            if not piece:
                raise ValueError("the request's body was cut off")
            left -= len(piece)
            yield piece

    def answer(self, response):
        self.send_response_only(response.status, response.reason)
        for name, value in [pair for pair in response.getheaders() if pair[0].lower() not in OF_CONNECTION]:
            self.send_header(name, value)
        bodiless = self.command == "HEAD" or response.status in (204, 304)
        known = response.getheader("content-length") is not None
        if not bodiless and not known:
            self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        while not bodiless and (piece := response.read1(PIECE)):
            self.wfile.write(piece if known else b"%x\r\n%s\r\n" % (len(piece), piece))
        if not bodiless and not known:
            self.wfile.write(b"0\r\n\r\n")
        if not bodiless and known and response.length:
            self.close_connection = True  # it was cut off, and whoever reads it has to see that

    def say(self, status, text):
        self.send_response_only(status)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = passed

    def log_message(self, *_):
        pass
