#!/usr/bin/env bash
# gRPC 1.51: who reads small messages one by one answers each of them with a WINDOW_UPDATE.
#
# A stream's window of 64 KiB is far from used up by messages of some 30 bytes, and HTTP/2 lets a
# receiver wait. gRPC's C core of that time says at once how many bytes it has read whenever its
# reader waits for the next message: 200 messages that come one after the other bring nearly 200
# packets back. A relay so writes twice for each message, and wakes its peer each time. Newer ones
# say little until much of the window is used up.
#
# Seen with grpcio 1.51.3 and 1.85.3 from PyPI and a server of h2 4.3.0 (Python 3.11, Linux 6):
# 200 messages, 2 ms apart, bring 198 WINDOW_UPDATEs of the stream from 1.51.3 and 4 from 1.85.3.
# Needs python3 with venv; takes about 20 s. Exit code 0 as long as it is so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/count.py" <<'SOURCE'
import socket, sys, threading, time
import grpc
import h2.config, h2.connection, h2.events

MESSAGES = 200
updates = 0

def serve(listener):
    global updates
    peer, _ = listener.accept()
    peer.settimeout(0.002)
    http = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    http.initiate_connection()
    stream, left = None, MESSAGES
    while True:
        peer.sendall(http.data_to_send())
        try:
            data = peer.recv(65536)
            if not data:
                return
            for event in http.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    stream = event.stream_id
                    http.send_headers(stream, [(":status", "200"),
                                               ("content-type", "application/grpc")])
                if isinstance(event, h2.events.WindowUpdated) and left < MESSAGES:
                    updates += event.stream_id == stream
        except TimeoutError:
            pass
        if stream and left:
            http.send_data(stream, b"\0\0\0\0\x1e" + bytes(30))
            left -= 1
            if not left:
                http.send_headers(stream, [("grpc-status", "0")], end_stream=True)
            time.sleep(0.002)

listener = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=serve, args=(listener,), daemon=True).start()
channel = grpc.insecure_channel("127.0.0.1:%d" % listener.getsockname()[1])
read = sum(1 for _ in channel.unary_stream("/a/b")(b""))
print("grpcio %s: %d messages read, %d WINDOW_UPDATEs" % (grpc.__version__, read, updates))
many = grpc.__version__.startswith("1.51.")
sys.exit(read != MESSAGES or (updates < MESSAGES / 2 if many else updates > MESSAGES / 20))
SOURCE
for version in 1.51.3 1.85.3; do
  python3 -m venv "$folder/$version"
  "$folder/$version/bin/pip" -q install "grpcio==$version" h2==4.3.0
  "$folder/$version/bin/python" "$folder/count.py" || { echo "changed in $version" >&2; exit 1; }
done
