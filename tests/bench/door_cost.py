#!/usr/bin/python3
"""What the HTTP door costs beside gRPC, in one run: the router's CPU time for each token, and how
long a small answer takes.

Usage: tests/bench/door_cost.py BUILD_FOLDER [ROUNDS]
Each of ROUNDS (default 5) has the same long streams first by gRPC and then by HTTP, 8 at once, and
then small requests by either in turn. Prints the medians over the rounds. The clients' own time is
in the latencies: gRPC's for Python, and bare sockets. Needs Debian's python3-grpcio.
"""

import concurrent.futures
import contextlib
import json
import os
import pathlib
import socket
import statistics
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
STREAMS = 32
AT_ONCE = 8
TOKENS = 900
SMALL_REQUESTS = 200
TICKS = os.sysconf("SC_CLK_TCK")
QUESTION = "What is 27 + 15?"

sys.path.insert(0, str(ROOT / "tests/contract"))
sys.path.insert(0, str(ROOT / "tests/integration"))
sys.path.insert(0, str(ROOT / "tests/bench"))
from accuracy import started_both  # noqa: E402
from grpc_client import GrpcClient  # noqa: E402
from idle_streams import children  # noqa: E402


def cpu_s(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def ask_grpc(client, tokens):
    request = client.messages.GenerateRequest(seed=1, max_tokens=tokens, ignore_eos=True)
    message = request.prompt.chat.messages.add(role=client.messages.ROLE_USER)
    message.content = QUESTION
    for event in client.call(request):
        if event.HasField("completed"):
            return event.completed.usage.reasoning_tokens + event.completed.usage.answer_tokens
    raise ConnectionError("a stream without an end")


class HttpClient:
    """One connection that is kept."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, tokens):
        body = json.dumps({"model": "auto", "stream": True, "seed": 1, "max_tokens": tokens,
                           "ignore_eos": True, "stream_options": {"include_usage": True},
                           "messages": [{"role": "user", "content": QUESTION}]})
        self.socket.sendall(("POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
                             "Content-Type: application/json\r\n"
                             f"Content-Length: {len(body)}\r\n\r\n{body}").encode())
        end = b""
        while not end.endswith(b"0\r\n\r\n"):
            data = self.socket.recv(64 << 10)
            if not data:
                raise ConnectionError("a stream without an end")
            end = (end + data)[-2000:]
        return int(end.split(b'"completion_tokens":')[1].split(b",")[0])


def cpu_per_token(pid, asks):
    """`asks`: one for each that is at once."""
    before = cpu_s(pid)
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        tokens = sum(pool.map(lambda ask: sum(ask(TOKENS) for _ in range(STREAMS // AT_ONCE)),
                              asks))
    return (cpu_s(pid) - before) / tokens * 1e6


def small_times(asks):
    times = [[] for _ in asks]
    for _ in range(SMALL_REQUESTS):
        for ask, taken in zip(asks, times):
            begin = time.perf_counter()
            ask(1)
            taken.append((time.perf_counter() - begin) * 1e6)
    return [statistics.median(taken) for taken in times]


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    cost = {"gRPC": [], "HTTP": []}
    small = {"gRPC": [], "HTTP": []}
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        record = stack.enter_context(started_both(build, "--http_listen=127.0.0.1:0"))
        pid = max(children(), key=int)  # the router came last
        grpc = GrpcClient(folder, f"localhost:{record['port']}")
        by_grpc = [lambda tokens: ask_grpc(grpc, tokens)] * AT_ONCE
        by_http = [HttpClient(record["http_port"]).ask for _ in range(AT_ONCE)]
        for warm in (by_grpc, by_http):
            warm[0](TOKENS)
        for _ in range(rounds):
            cost["gRPC"].append(cpu_per_token(pid, by_grpc))
            cost["HTTP"].append(cpu_per_token(pid, by_http))
            for name, median in zip(small, small_times((by_grpc[0], by_http[0]))):
                small[name].append(median)
    for name in cost:
        print(f"{name}: {statistics.median(cost[name]):.2f} us of the router's CPU a token "
              f"({', '.join(f'{one:.2f}' for one in cost[name])}); a request of one token p50 "
              f"{statistics.median(small[name]):.0f} us")
    ratio = statistics.median(http / grpc for http, grpc in zip(cost["HTTP"], cost["gRPC"]))
    print(f"HTTP takes {ratio:.2f} times gRPC's CPU")


if __name__ == "__main__":
    sys.exit(main())
