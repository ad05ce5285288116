"""A hub of models on this machine: as much of Hugging Face's as a download needs, and its bad days.

Two servers on loopback: the hub itself, and the store that it sends on to for large files, as LFS has it. What one of them
does to the next requests is told by `Hub.faults`; what was asked of them is in `Hub.requests`.
"""
import dataclasses
import hashlib
import http.client
import http.server
import json
import re
import secrets
import select
import socket
import ssl
import threading
import time
import urllib.parse

COMMIT = "1234567890abcdef1234567890abcdef12345678"
CHUNK = 1 << 16


def git_blob(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@dataclasses.dataclass
class Fault:
    """What becomes of the next `times` GETs whose path has `where` in it."""
    where: str
    times: int = 1
    store: bool = False        # of the store, not of the hub itself
    status: int = 0            # answers so, with `headers`, and sends nothing
    headers: dict = dataclasses.field(default_factory=dict)
    cut_after: int = -1        # sends so many bytes of the body, then closes the connection
    stall_s: float = 0         # waits so long in the middle of the body
    ignore_range: bool = False
    lie_length: int = 0        # says so many bytes more than there are
    flip: bool = False         # sends a wrong byte


@dataclasses.dataclass
class Request:
    method: str
    path: str
    range: str
    authorization: str
    store: bool


class Hub:
    """`files`: path -> bytes; those of LFS are the larger ones. `hosts`: by what address or name hub and store are
    reached; they listen on the first. `xet`: as huggingface.co is since Xet keeps its large files, which a store brings by
    signed addresses for whoever asks for them by plain HTTP, and since its small ones lie in a cache, behind a relative
    redirect. Use as a context manager."""

    def __init__(self, files, repo="org/model", lfs_bytes=1 << 16, token=None, pace=0.0, tls=None,
                 hosts=("127.0.0.1", "localhost"), xet=False):  # two names of this machine are two hosts
        self.hosts, self.xet = hosts, xet
        self.addresses = {}  # signed ones of the store -> path
        self.files, self.repo, self.lfs_bytes, self.token, self.pace = files, repo, lfs_bytes, token, pace
        self.revisions = {"main": COMMIT, COMMIT: COMMIT}
        self.faults, self.requests = [], []
        self.wrong_etags, self.etags = {}, {}
        self.lock = threading.Lock()
        self.sent = 0
        self.sending = self.most_at_once = 0  # bodies
        self.tls = tls  # files of a certificate and its key, or None
        self.servers = [self.serve(store) for store in (False, True)]

    def serve(self, store):
        handler = type("Handler", (Handler,), {"hub": self, "store": store})
        server = Server((self.hosts[0], 0), handler)
        if self.tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self.tls)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        return server

    @property
    def scheme(self):
        return "https" if self.tls else "http"

    def __enter__(self):
        for server in self.servers:
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_):
        for server in self.servers:
            server.shutdown()
            server.server_close()

    @property
    def url(self):
        return f"{self.scheme}://{self.hosts[0]}:{self.servers[0].server_port}"

    @property
    def store_url(self):
        return f"{self.scheme}://{self.hosts[1]}:{self.servers[1].server_port}"

    def is_lfs(self, path):
        return len(self.files[path]) >= self.lfs_bytes

    def etag(self, path):
        if path in self.wrong_etags:
            return self.wrong_etags[path]
        data = self.files[path]
        if self.etags.get(path, (None,))[0] is not data:
            self.etags[path] = data, hashlib.sha256(data).hexdigest() if self.is_lfs(path) else git_blob(data)
        return self.etags[path][1]

    def xet_hash(self, path):
        """By which Xet itself would find it."""
        return hashlib.sha256(b"xet " + self.etag(path).encode()).hexdigest()

    def sign(self, path):
        """An address at the store, which takes it for GET, and only as it is written here."""
        name = path.rpartition("/")[2]
        query = urllib.parse.urlencode({
            "X-Xet-Cas-Uid": "public", "response-content-disposition": f"inline; filename*=UTF-8''{name}; filename=\"{name}\";",
            "Expires": int(time.time()) + 3600, "Policy": "eyJTdGF0ZW1lbnQiOltdfQ__",
            "Signature": f"{secrets.token_urlsafe(64)}~__", "Key-Pair-Id": "K1"})
        address = f"/xet-bridge-us/{'6' * 24}/{self.etag(path)}?{query}"
        self.addresses[address] = path
        return self.store_url + address

    def take_fault(self, path, store):
        with self.lock:
            for fault in self.faults:
                if fault.times > 0 and fault.where in path and fault.store == store:
                    fault.times -= 1
                    return fault
        return None

    def count(self, where, method="GET"):
        with self.lock:
            return sum(where in request.path and request.method == method for request in self.requests)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request, client_address):
        """Clients that go are no news."""


class Proxy:
    """A proxy for http:// and, by CONNECT, for https://. `asked`: the first lines of what it was asked."""

    def __init__(self):
        self.asked = []
        handler = type("Handler", (ProxyHandler,), {"proxy": self})
        self.server = Server(("127.0.0.1", 0), handler)

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_port}"


class ProxyHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy = None

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.forward()

    def do_GET(self):
        self.forward()

    def forward(self):
        self.proxy.asked.append(self.requestline)
        address = urllib.parse.urlsplit(self.path)
        headers = {name: value for name, value in self.headers.items() if not name.lower().startswith("proxy-")}
        connection = http.client.HTTPConnection(address.netloc)
        connection.request(self.command, address._replace(scheme="", netloc="").geturl(), headers=headers)
        reply = connection.getresponse()
        self.send_response(reply.status)
        for name, value in reply.getheaders():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(reply.read())
        connection.close()

    def do_CONNECT(self):
        self.proxy.asked.append(self.requestline)
        host, _, port = self.path.rpartition(":")
        with socket.create_connection((host, int(port))) as other:
            self.send_response(200)
            self.end_headers()
            ends = {self.connection: other, other: self.connection}
            while True:
                for ready in select.select(list(ends), [], [])[0]:
                    data = ready.recv(CHUNK)
                    if not data:
                        self.close_connection = True
                        return
                    ends[ready].sendall(data)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub, store = None, False

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def answer(self):
        hub, path = self.hub, urllib.parse.unquote(self.path)
        with hub.lock:
            hub.requests.append(Request(self.command, path, self.headers.get("Range", ""),
                                        self.headers.get("Authorization", ""), self.store))
        fault = hub.take_fault(path, self.store) if self.command == "GET" else None
        if fault and fault.status:
            return self.refuse(fault.status, fault.headers)
        if self.store:
            return self.send_signed(fault) if hub.xet else self.send(path.removeprefix("/"), fault, {})
        if hub.token and self.headers.get("Authorization") != f"Bearer {hub.token}":
            return self.refuse(401, {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted"})
        if path.startswith("/api/models/"):
            return self.api(path)
        if path.startswith("/api/resolve-cache/models/"):
            return self.send_cached(path, fault)
        match = re.fullmatch(r"/(.+/.+)/resolve/([^/]+)/(.+)", path)
        if not match or match[1] != hub.repo:
            return self.refuse(404, {"X-Error-Code": "RepoNotFound"})
        if match[2] not in hub.revisions:
            return self.refuse(404, {"X-Error-Code": "RevisionNotFound"})
        if match[3] not in hub.files:
            return self.refuse(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": hub.revisions[match[2]]})
        return self.resolve(match[3], hub.revisions[match[2]], fault)

    def refuse(self, status, headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def api(self, path):
        hub = self.hub
        match = re.fullmatch(rf"/api/models/{re.escape(hub.repo)}(?:/(revision|tree)/([^?]+))?(\?.*)?", path)
        if not match:
            return self.refuse(404, {"X-Error-Code": "RepoNotFound"})
        commit = hub.revisions.get(match[2] or "main")
        if commit is None:
            return self.refuse(404, {"X-Error-Code": "RevisionNotFound"})
        if match[1] == "tree":
            return self.send_json([self.entry(name) for name in sorted(hub.files)])
        return self.send_json({"id": hub.repo, "modelId": hub.repo, "sha": commit, "private": False, "tags": [],
                               "downloads": 0, "likes": 0,
                               "siblings": [{"rfilename": name} for name in sorted(hub.files)]})

    def entry(self, name):
        data = self.hub.files[name]
        entry = {"type": "file", "path": name, "size": len(data), "oid": git_blob(data)}
        if self.hub.is_lfs(name):
            entry["lfs"] = {"oid": self.hub.etag(name), "size": len(data), "pointerSize": 130}
        if self.hub.is_lfs(name) and self.hub.xet:
            entry["xetHash"] = self.hub.xet_hash(name)
        return entry

    def send_json(self, value):
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    def resolve(self, name, commit, fault):
        hub = self.hub
        if not hub.is_lfs(name) and hub.xet:
            asked = urllib.parse.quote(self.path, safe="")
            etag = urllib.parse.quote(f'"{hub.etag(name)}"')
            return self.redirect(307, f"/api/resolve-cache/models/{hub.repo}/{commit}/{urllib.parse.quote(name)}"
                                      f"?{asked}=&etag={etag}", {})
        if not hub.is_lfs(name):
            return self.send(name, fault, {"X-Repo-Commit": commit, "ETag": f'"{hub.etag(name)}"'})
        headers = {"X-Repo-Commit": commit, "X-Linked-Etag": f'"{hub.etag(name)}"',
                   "X-Linked-Size": str(len(hub.files[name]))}
        if not hub.xet:
            return self.redirect(302, f"{hub.store_url}/{urllib.parse.quote(name)}", headers)
        token = f"{hub.url}/api/models/{hub.repo}/xet-read-token/{commit}"
        blocks = f"{hub.store_url}/v1/reconstructions/{hub.xet_hash(name)}"
        return self.redirect(302, hub.sign(name), {
            **headers, "Accept-Ranges": "bytes", "X-Xet-Hash": hub.xet_hash(name),
            "Link": f'<{token}>; rel="xet-auth", <{blocks}>; rel="xet-reconstruction-info"'})

    def redirect(self, status, address, headers):
        """With a body, which is none of the file's."""
        body = f"Redirecting to {address}".encode()
        self.send_response(status)
        for name, value in {**headers, "Location": address, "Content-Type": "text/plain; charset=utf-8",
                            "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def send_cached(self, path, fault):
        """With the query of the redirect, or without, as huggingface_hub 0.36 asks for it."""
        hub = self.hub
        match = re.fullmatch(rf"/api/resolve-cache/models/{re.escape(hub.repo)}/([0-9a-f]{{40}})/([^?]+)(\?.*)?", path)
        if not match or match[2] not in hub.files:
            return self.refuse(404, {"X-Error-Code": "EntryNotFound"})
        return self.send(match[2], fault, {"X-Repo-Commit": match[1], "ETag": f'"{hub.etag(match[2])}"'})

    def send_signed(self, fault):
        path = self.hub.addresses.get(self.path)
        if path is None or self.command != "GET":
            return self.refuse(403, {})
        if self.headers.get("Authorization"):
            return self.refuse(400, {})  # one way to say who asks is enough
        return self.send(path, fault, {"ETag": f'"{self.hub.xet_hash(path)}"'})

    def send(self, name, fault, headers):
        data = self.hub.files[name]
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        first, end = 0, len(data)
        if wanted and not (fault and fault.ignore_range):
            first, end = int(wanted[1]), int(wanted[2]) + 1 if wanted[2] else len(data)
            if first >= len(data):
                return self.refuse(416, {"Content-Range": f"bytes */{len(data)}"})
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{end - 1}/{len(data)}")
        else:
            self.send_response(200)
        lie = fault.lie_length if fault else 0
        self.send_header("Content-Length", str(end - first + lie))
        for header, value in headers.items():
            self.send_header(header, value)
        self.end_headers()
        if self.command == "GET":
            self.send_body(data, first, end, fault)
        return None

    def send_body(self, data, first, end, fault):
        with self.hub.lock:
            self.hub.sending += 1
            self.hub.most_at_once = max(self.hub.most_at_once, self.hub.sending)
        try:
            self.send_parts(data, first, end, fault)
        finally:
            with self.hub.lock:
                self.hub.sending -= 1

    def send_parts(self, data, first, end, fault):
        sent = 0
        for at in range(first, end, CHUNK):
            part = memoryview(data)[at:min(end, at + CHUNK)]
            if fault and fault.flip and at == first:
                part = bytes([part[0] ^ 1]) + bytes(part[1:])
            if fault and 0 <= fault.cut_after < sent + len(part):
                part = part[:fault.cut_after - sent]
            try:
                self.wfile.write(part)
            except OSError:
                break
            sent += len(part)
            with self.hub.lock:
                self.hub.sent += len(part)
            if self.hub.pace:
                time.sleep(self.hub.pace)
            if fault and fault.stall_s and sent >= (end - first) // 2:
                time.sleep(fault.stall_s)
                fault.stall_s = 0
            if fault and 0 <= fault.cut_after <= sent:
                break
        if fault and (fault.cut_after >= 0 or fault.lie_length):
            self.close_connection = True
