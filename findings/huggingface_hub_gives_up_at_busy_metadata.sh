#!/usr/bin/env bash
# huggingface_hub: a hub that says "come again in a second" is asked again for a file's bytes, and not
# for what comes before them.
#
# 2.4.0 waits as Retry-After says and goes on where a large file's GET is answered 429. Where the same
# answer comes to the question for the revision, which each snapshot_download begins with,
# it ends at once (LocalEntryNotFoundError, by HfHubHTTPError): pods that start together behind a hub's limit of requests fail,
# although each of them would have been served a second later.
#
# Seen with huggingface_hub 2.4.0 from PyPI. Needs python3 with venv and the network. Exit code 0 as
# long as it is so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'huggingface_hub==2.4.0' 2>/dev/null

cat >"$folder/busy.py" <<'SOURCE'
import hashlib, http.server, json, os, sys, tempfile, threading
content = bytes(range(256)) * 4096
sha = hashlib.sha256(content).hexdigest()
commit = '0123456789' * 4
busy = set()  # of 'info' and 'bytes': what is refused once
class Hub(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def log_message(self, *unused): pass
    def answer(self, status, body, headers):
        self.send_response(status)
        for name, value in headers.items(): self.send_header(name, value)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        if self.command == 'GET': self.wfile.write(body)
    def do_HEAD(self): self.do_GET()
    def do_GET(self):
        of_file = '/resolve/' in self.path
        what = 'bytes' if of_file and self.command == 'GET' else '' if of_file else 'info'
        if what in busy:
            busy.discard(what)
            return self.answer(429, b'', {'Retry-After': '1'})
        if of_file:
            return self.answer(200, content, {
                'ETag': f'"{sha}"', 'X-Repo-Commit': commit, 'Accept-Ranges': 'bytes',
                'X-Linked-Etag': f'"{sha}"', 'X-Linked-Size': str(len(content))})
        if '/tree/' in self.path:
            entry = {'type': 'file', 'path': 'model.bin', 'oid': sha, 'size': len(content),
                     'lfs': {'oid': sha, 'size': len(content), 'pointerSize': 134}}
            return self.answer(200, json.dumps([entry]).encode(), {'Content-Type': 'application/json'})
        info = {'id': 'a/model', 'sha': commit, 'siblings': [{'rfilename': 'model.bin'}]}
        self.answer(200, json.dumps(info).encode(), {'Content-Type': 'application/json'})
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Hub)
threading.Thread(target=server.serve_forever, daemon=True).start()
os.environ.update(HF_ENDPOINT=f'http://127.0.0.1:{server.server_port}', HF_HUB_DISABLE_XET='1',
                  HF_HUB_DISABLE_PROGRESS_BARS='1')
import huggingface_hub
def download(*refused):
    busy.update(refused)
    with tempfile.TemporaryDirectory() as cache:
        try:
            huggingface_hub.snapshot_download('a/model', cache_dir=cache)
        except Exception as error: return type(error.__cause__ or error).__name__
    return 'whole'
seen = {refused: download(*filter(None, [refused])) for refused in ('', 'bytes', 'info')}
print(huggingface_hub.__version__, seen, flush=True)
sys.stdout.flush()
os._exit(seen != {'': 'whole', 'bytes': 'whole', 'info': 'HfHubHTTPError'})
SOURCE
"$folder/venv/bin/python" "$folder/busy.py"
