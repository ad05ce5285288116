#!/usr/bin/env bash
# gRPC: keepalive ends a connection whose peer has stopped reading, long before a ping is due.
#
# grpc.keepalive_time_ms says after how long a ping is sent, grpc.keepalive_timeout_ms how long its
# answer may take. On Linux both together also set TCP_USER_TIMEOUT to the latter, and that counts
# while the peer's window is zero, though its kernel answers every probe. So a server with a
# keepalive of an hour and 3 s cuts a client off that does not read for some seconds (stopped, in a
# debugger, its disk busy) in the middle of a stream; without keepalive the stream waits for it. Who
# promises slow readers a minute needs a keepalive timeout of a minute.
#
# Seen with grpcio 1.51.3 and 1.85.3 from PyPI (Python 3.11, Linux 6): with 3,600,000 and 3,000 ms a
# stopped client's call is over after 3 to 5 s, without both it is not after 15 s. Needs python3 with
# venv; takes about a minute. Exit code 0 as long as it is so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/paused.py" <<'SOURCE'
import concurrent.futures, os, signal, subprocess, sys, threading, time
import grpc

READER = """
import sys, grpc
options = [("grpc.max_receive_message_length", -1)]
channel = grpc.insecure_channel("127.0.0.1:" + sys.argv[1], options=options)
for message in channel.unary_stream("/a/b")(b""):
    print("read", flush=True)
"""

class Handler(grpc.GenericRpcHandler):
    def __init__(self):
        self.over = threading.Event()
    def service(self, details):
        def answer(request, context):
            context.add_callback(self.over.set)
            yield b""
            while context.is_active():
                yield bytes(1 << 20)
        return grpc.unary_stream_rpc_method_handler(answer)

def seconds_until_over(options, wait):
    handler = Handler()
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(1), options=options)
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    reader = subprocess.Popen([sys.executable, "-c", READER, str(port)], stdout=subprocess.PIPE)
    reader.stdout.readline()
    os.kill(reader.pid, signal.SIGSTOP)
    begin = time.monotonic()
    ended = handler.over.wait(wait)
    seconds = time.monotonic() - begin
    reader.kill()
    server.stop(None)
    return seconds if ended else None

kept = seconds_until_over([("grpc.keepalive_time_ms", 3600000),
                           ("grpc.keepalive_timeout_ms", 3000)], 15)
plain = seconds_until_over([], 15)
print("grpcio %s: over after %s s with keepalive, %s s without" % (grpc.__version__, kept, plain))
sys.exit(kept is None or kept > 10 or plain is not None)
SOURCE
for version in 1.51.3 1.85.3; do
  python3 -m venv "$folder/$version"
  "$folder/$version/bin/pip" -q install "grpcio==$version"
  "$folder/$version/bin/python" "$folder/paused.py" || { echo "changed in $version" >&2; exit 1; }
done
