#!/usr/bin/env bash
# huggingface_hub 2: a download that broke off begins the file anew, where 0.36 went on with it.
#
# 0.36.0 writes blobs/ETAG.incomplete and asks for the rest of it the next time (Range). 2.4.0 writes
# ETAG.RANDOM.incomplete, takes it away when the download fails, leaves it when the process is killed,
# and never looks at it again: each try asks for the whole file, and what kill -9 left stays on the
# disk. Whoever restarts a pod in the middle of a file of 5 GB downloads it from its first byte.
#
# Seen with huggingface_hub 2.4.0 and 0.36.0 from PyPI. Needs python3 with venv and the network. Exit
# code 0 as long as it is so.
set -euo pipefail
folder=$(mktemp -d)
trap 'kill "$server" 2>/dev/null || true; rm -rf "$folder"' EXIT

# A hub with one file of 48 MB, which it sends half of, then stands still, unless asked for a range or
# the second time. Prints each request for the file.
cat >"$folder/hub.py" <<'SOURCE'
import hashlib, http.server, json, os, re, sys, time
CONTENT = bytes(range(256)) * 196608
SHA = hashlib.sha256(CONTENT).hexdigest()
COMMIT = '0123456789' * 4
sent = 0
class Hub(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def log_message(self, *unused): pass
    def answer(self, body, status=200, **more):
        self.send_response(status)
        for name, value in {'Content-Length': str(len(body)), **more}.items():
            self.send_header(name.replace('_', '-'), value)
        self.end_headers()
        if self.command == 'GET': self.wfile.write(body)
    def do_HEAD(self): self.do_GET()
    def do_GET(self):
        global sent
        if '/resolve/' not in self.path:
            return self.answer(json.dumps({'id': 'a/model', 'sha': COMMIT, 'siblings': []}).encode(),
                               Content_Type='application/json')
        names = {'ETag': f'"{SHA}"', 'X_Repo_Commit': COMMIT, 'Accept_Ranges': 'bytes',
                 'X_Linked_Etag': f'"{SHA}"', 'X_Linked_Size': str(len(CONTENT))}
        wanted = re.fullmatch(r'bytes=(\d+)-.*', self.headers.get('Range', ''))
        first = int(wanted[1]) if wanted else 0
        if self.command == 'HEAD': return self.answer(CONTENT, **names)
        print('from', first, flush=True)
        sent += 1
        if first:
            names['Content_Range'] = f'bytes {first}-{len(CONTENT) - 1}/{len(CONTENT)}'
            return self.answer(CONTENT[first:], 206, **names)
        if sent > 1: return self.answer(CONTENT, **names)
        self.send_response(200)
        for name, value in {'Content-Length': str(len(CONTENT)), **names}.items():
            self.send_header(name.replace('_', '-'), value)
        self.end_headers()
        self.wfile.write(CONTENT[:len(CONTENT) // 2])
        self.wfile.flush()
        open(sys.argv[1] + '/half', 'w').close()
        time.sleep(3600)
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Hub)
server.daemon_threads = True
with open(sys.argv[1] + '/port.new', 'w') as file: file.write(str(server.server_port))
os.rename(sys.argv[1] + '/port.new', sys.argv[1] + '/port')
server.serve_forever()
SOURCE

# resume VERSION: what the second try asks for, after the first was killed in the middle.
resume() {
  local place=$folder/$1 download=0
  mkdir "$place"
  python3 -m venv "$place/venv"
  "$place/venv/bin/pip" install --quiet "huggingface_hub==$1" 2>/dev/null
  python3 "$folder/hub.py" "$place" >"$place/asked" &
  server=$!
  while [[ ! -e $place/port ]]; do sleep 0.1; done
  local get=(env HF_ENDPOINT="http://127.0.0.1:$(cat "$place/port")" HF_HOME="$place/home" HF_HUB_DISABLE_XET=1
    "$place/venv/bin/python" -c "import huggingface_hub as h; h.hf_hub_download('a/model', 'model.bin')")
  "${get[@]}" >/dev/null 2>&1 &
  download=$!
  while [[ ! -e $place/half ]]; do sleep 0.1; done
  until find "$place/home" -name '*.incomplete' -size +2048k | grep -q .; do sleep 0.1; done
  sleep 1
  kill -9 "$download"
  wait "$download" 2>/dev/null || true
  "${get[@]}" >/dev/null 2>&1
  kill "$server"
  echo "$1: $(paste -sd, "$place/asked"); left: $(find "$place/home" -name '*.incomplete' | wc -l)"
  second=$(sed -n 's/from //; 2p' "$place/asked")
  left=$(find "$place/home" -name '*.incomplete' | wc -l)
}

resume 0.36.0
((second > 0 && left == 0))
resume 2.4.0
((second == 0 && left == 1))
