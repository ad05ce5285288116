#!/usr/bin/env python3
"""What an idle stream of the HTTP door costs the router in memory.

Usage: tests/bench/idle_streams.py BUILD_FOLDER [STREAMS [tls]]
Opens STREAMS (default 10,000, or what `ulimit -n` has room for) server-sent streams that have begun
and say nothing more, from workers that do nothing (`ninja idle_worker`), and prints how much the
router's resident memory has grown for each. Then all clients go, and it prints how soon the door
has no connection any more. With `tls`, over TLS.
"""

import contextlib
import pathlib
import resource
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
WORKERS = 3
AT_ONCE = 64  # that are asked for before the next ones
OTHER_FILES = 600

sys.path.insert(0, str(ROOT / "tests/integration"))
from accuracy import started  # noqa: E402


def memory_kb(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(status.split("VmRSS:")[1].split()[0])


def open_connections(port):
    text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read().decode()
    for line in text.splitlines():
        if line.startswith("thinkwire_router_http_connections "):
            return float(line.split()[1])
    raise ValueError("there is no such metric")


def make_certificate(folder):
    """The router's options of one, and how a client speaks to it."""
    cert, key = f"{folder}/cert.pem", f"{folder}/key.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=localhost"],
                   check=True, capture_output=True)
    client = ssl.create_default_context(cafile=cert)
    client.check_hostname = False
    return [f"--tls_cert={cert}", f"--tls_key={key}"], client


def ask(port, variant, tls):
    body = ('{"model":"%s","stream":true,"messages":[{"role":"user","content":"Hi"}]}' % variant)
    client = socket.create_connection(("127.0.0.1", port), timeout=60)
    if tls:
        client = tls.wrap_socket(client)
    client.sendall(("POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
                    "Content-Type: application/json\r\n"
                    f"Content-Length: {len(body)}\r\n\r\n{body}").encode())
    return client


def await_first_text(clients):
    """Until each has had a piece of reasoning."""
    for client in clients:
        said = b""
        while b"reasoning" not in said:
            data = client.recv(16 << 10)
            if not data:
                sys.exit(f"a stream has ended: {said[-300:]}")
            said += data


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    wanted = int(sys.argv[2]) if len(sys.argv) > 2 else 10_000
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    number = min(wanted, most - OTHER_FILES)
    with contextlib.ExitStack() as stack:
        options, tls = [], None
        if sys.argv[3:] == ["tls"]:
            options, tls = make_certificate(stack.enter_context(tempfile.TemporaryDirectory()))
        lines = ["variants:"]
        for i in range(WORKERS):
            worker = stack.enter_context(subprocess.Popen(
                [build / "tests/bench/idle_worker", f"idle-{i}"], stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, text=True))
            stack.callback(worker.stdin.close)
            lines.append(f'  - name: idle-{i}\n    workers: ["{worker.stdout.readline().strip()}"]')
        config = stack.enter_context(tempfile.NamedTemporaryFile("w", suffix=".yaml"))
        config.write("\n".join(lines) + "\n")
        config.flush()
        before = set(children())
        router = stack.enter_context(started(
            build / "router/thinkwire-router", "--config", config.name, "--listen=127.0.0.1:0",
            "--max_connections=17", f"--http_max_connections={number}",
            "--metrics_listen=127.0.0.1:0", "--http_listen=127.0.0.1:0", *options))
        pid = (set(children()) - before).pop()
        warm = [ask(router["http_port"], f"idle-{i}", tls) for i in range(WORKERS)]
        await_first_text(warm)
        base = memory_kb(pid)
        begin = time.monotonic()
        clients = []
        while len(clients) < number - WORKERS:
            count = min(AT_ONCE, number - WORKERS - len(clients))
            some = [ask(router["http_port"], f"idle-{i % WORKERS}", tls) for i in range(count)]
            await_first_text(some)
            clients += some
        opened = time.monotonic() - begin
        grown = memory_kb(pid) - base
        print(f"{number} streams open after {opened:.1f} s; the router grew from {base} to "
              f"{base + grown} KB, {grown / len(clients):.1f} KB a stream")
        begin = time.monotonic()
        for client in clients + warm:
            client.close()
        while open_connections(router["metrics_port"]) > 0:
            time.sleep(0.02)
        print(f"no connection is left {time.monotonic() - begin:.2f} s after all clients went; "
              f"{memory_kb(pid)} KB")
    return 0


def children():
    """This process's own."""
    pid = pathlib.Path("/proc/self").resolve().name
    return pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()


if __name__ == "__main__":
    sys.exit(main())
