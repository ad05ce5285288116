#!/usr/bin/env bash
# gRPC: the deadline that a server sees is later than the client's, by up to one part in a hundred.
#
# The grpc-timeout header may have eight digits, and a unit of a nanosecond to an hour. gRPC's C
# core (C++, Python, Ruby…) sends three significant digits, rounded up: of 3,601 s the server sees
# 3,610, of 12,345 s 12,400, of 1,001 s 1,010. So a server that compares its estimate with the time
# left believes in time that the client will not wait, 55 s in the worst of these; a client that
# needs the server to know its deadline to the second has to say so in metadata of its own.
#
# Seen with grpcio 1.51.3 and 1.76.0 from PyPI (Python 3.11). Needs python3 with venv. Exit code 0
# as long as it is so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/deadlines.py" <<'SOURCE'
import concurrent.futures, sys
import grpc

left = []

class Handler(grpc.GenericRpcHandler):
    def service(self, details):
        def answer(request, context):
            left.append(context.time_remaining())
            return b""
        return grpc.unary_unary_rpc_method_handler(answer)

server = grpc.server(concurrent.futures.ThreadPoolExecutor(1))
server.add_generic_rpc_handlers((Handler(),))
port = server.add_insecure_port("127.0.0.1:0")
server.start()
call = grpc.insecure_channel("127.0.0.1:%d" % port).unary_unary("/a/b")
same = True
for given, seen in ((999, 1000), (1001, 1010), (3601, 3610), (12345, 12400)):
    call(b"", timeout=given)
    print("grpcio %s: %d s became %.2f s" % (grpc.__version__, given, left[-1]))
    same = same and seen - 5 < left[-1] <= seen
server.stop(None)
sys.exit(not same)
SOURCE
for version in 1.51.3 1.76.0; do
  python3 -m venv "$folder/$version"
  "$folder/$version/bin/pip" -q install "grpcio==$version"
  "$folder/$version/bin/python" "$folder/deadlines.py" || { echo "changed in $version" >&2; exit 1; }
done
