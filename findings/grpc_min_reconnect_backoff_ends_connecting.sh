#!/usr/bin/env bash
# gRPC: grpc.min_reconnect_backoff_ms is also how long one attempt to connect may take.
#
# The channel argument is described as the least time between two attempts. It bounds each attempt
# too: a peer that accepts the connection and sends no SETTINGS frame yet (a busy server, a proxy
# whose backend is slow) is given up after that time, or after the current backoff (1 s at first,
# with jitter) where that is longer, and not after the 20 s that hold without the argument. Who sets
# it to half a second so that a restarted server is found soon can never reach one that takes 1.2 s
# to say its first word while that backoff lasts. No other argument sets the time for connecting.
#
# Seen with grpcio 1.51.3 and 1.85.3 from PyPI (Python 3.11): 3,000 ms gives TRANSIENT_FAILURE after
# 3.0 s, nothing set after 20.0 s. Needs python3 with venv; takes about half a minute. Exit code 0
# as long as it is so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/connect.py" <<'SOURCE'
import socket, sys, threading, time
import grpc

def seconds_until_given_up(options):
    silent = socket.create_server(("127.0.0.1", 0))  # the kernel accepts; nobody speaks
    channel = grpc.insecure_channel(
        "127.0.0.1:%d" % silent.getsockname()[1],
        options=options + [("grpc.use_local_subchannel_pool", 1)])
    given_up = threading.Event()
    def note(state):
        if state == grpc.ChannelConnectivity.TRANSIENT_FAILURE:
            given_up.set()
    begin = time.monotonic()
    channel.subscribe(note, try_to_connect=True)
    if not given_up.wait(60):
        sys.exit("never given up")
    channel.close()
    return time.monotonic() - begin

short = seconds_until_given_up([("grpc.min_reconnect_backoff_ms", 3000)])
plain = seconds_until_given_up([])
print("grpcio %s: given up after %.1f s with 3000 ms, after %.1f s without"
      % (grpc.__version__, short, plain))
sys.exit(not (2.5 < short < 4.5 and 18 < plain < 23))
SOURCE
for version in 1.51.3 1.85.3; do
  python3 -m venv "$folder/$version"
  "$folder/$version/bin/pip" -q install "grpcio==$version"
  "$folder/$version/bin/python" "$folder/connect.py" || { echo "changed in $version" >&2; exit 1; }
done
