#!/usr/bin/env python3
"""What `thinkwire-worker pull`, and a worker that is given a model's name, do with a hub and its bad days (fake_hub.py).

Usage: pull_test.py BUILD_FOLDER [unittest's arguments]
"""
import fcntl
import json
import os
import pathlib
import pty
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request

from fake_hub import COMMIT, Fault, Hub, Proxy

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else REPOSITORY / "build/release")
WORKER = BUILD / "worker/thinkwire-worker"
PIECE = 1 << 18
PATIENCE_S = 60


def weights(megabytes, seed=7):
    return random.Random(seed).randbytes(megabytes << 20)


def checkpoint(**more):
    """Two shards, one of them of several pieces, and what a worker does not need."""
    files = {"config.json": b'{"a": 1}\n', "tokenizer.json": b'{"b": 2}\n', "generation_config.json": b"{}\n",
             "README.md": b"# Model\n", "figures/a.png": b"picture", "pytorch_model.bin": b"other weights" * 9000,
             "model.safetensors.index.json": json.dumps({"weight_map": {
                 "x": "model-00001-of-00002.safetensors", "y": "model-00002-of-00002.safetensors"}}).encode(),
             "model-00001-of-00002.safetensors": weights(3), "model-00002-of-00002.safetensors": weights(1, 8)}
    return {**files, **more}


BIG = "model-00001-of-00002.safetensors"
NEEDED = {"config.json", "tokenizer.json", "generation_config.json", "model.safetensors.index.json", BIG,
          "model-00002-of-00002.safetensors"}


def cache_tree(cache):
    """Path -> bytes, or the link's text; of blobs, refs and snapshots."""
    tree = {}
    for path in sorted(pathlib.Path(cache).rglob("*")):
        name = str(path.relative_to(cache))
        if not re.search(r"/(blobs|refs|snapshots)/", name):
            continue
        if path.is_symlink():
            tree[name] = os.readlink(path)
        elif path.is_file():
            tree[name] = path.read_bytes()
    return tree


class PullCase(unittest.TestCase):
    connections = ("--connections=8",)
    pieces = (f"--piece_bytes={PIECE}",)

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.cache = pathlib.Path(self.folder.name, "cache")

    def hub(self, files=None, **more):
        hub = Hub(files or checkpoint(), **more)
        hub.__enter__()
        self.addCleanup(hub.__exit__)
        return hub

    def environment(self, hub, **more):
        kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "ASAN_OPTIONS", "LSAN_OPTIONS")
                if name in os.environ}
        return {**kept, "HF_ENDPOINT": hub.url if hub else "http://127.0.0.1:9", "HF_HUB_CACHE": str(self.cache),
                "HOME": self.folder.name, "HF_HUB_DOWNLOAD_TIMEOUT": "1", **more}

    def start(self, hub, *arguments, **environment):
        return subprocess.Popen([WORKER, "pull", *self.pieces, *self.connections,
                                 *(arguments or ["org/model"])],
                                env=self.environment(hub, **environment), stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True)

    def pull(self, hub, *arguments, code=0, **environment):
        """The last line that it says."""
        process = self.start(hub, *arguments, **environment)
        out, err = process.communicate(timeout=PATIENCE_S)
        self.assertEqual(process.returncode, code, err)
        return (out if code == 0 else err).strip().splitlines()[-1]

    def repo_folder(self):
        return self.cache / "models--org--model"

    def blob(self, hub, path):
        return self.repo_folder() / "blobs" / hub.etag(path)

    def assert_whole(self, hub):
        snapshot = self.repo_folder() / "snapshots" / COMMIT
        found = {str(path.relative_to(snapshot)) for path in snapshot.rglob("*")}
        self.assertEqual(found, NEEDED)
        for path in NEEDED:
            self.assertEqual((snapshot / path).read_bytes(), hub.files[path], path)
            self.assertEqual(os.readlink(snapshot / path), f"../../blobs/{hub.etag(path)}")
        self.assertEqual((self.repo_folder() / "refs/main").read_text(), COMMIT)
        blobs = {path.name for path in (self.repo_folder() / "blobs").iterdir()}
        self.assertEqual(blobs, {hub.etag(path) for path in NEEDED})


class Downloads(PullCase):
    def test_brings_what_a_worker_needs_and_nothing_else(self):
        hub = self.hub()
        self.assertEqual(self.pull(hub), str(self.repo_folder() / "snapshots" / COMMIT))
        self.assert_whole(hub)
        self.assertEqual(hub.sent, sum(len(hub.files[path]) for path in NEEDED))
        ranges = [request.range for request in hub.requests if request.store and BIG in request.path]
        self.assertEqual(len(ranges), (3 << 20) // PIECE)

    def test_asks_for_nothing_twice(self):
        hub = self.hub()
        self.pull(hub)
        sent = hub.sent
        self.pull(hub)
        self.assertEqual(hub.sent, sent)

    def test_takes_a_commit_and_writes_no_ref(self):
        hub = self.hub()
        self.pull(hub, f"org/model@{COMMIT}")
        self.assertFalse((self.repo_folder() / "refs").exists())
        self.assertTrue((self.repo_folder() / "snapshots" / COMMIT / BIG).exists())

    def test_goes_on_with_what_a_branch_has_become(self):
        hub = self.hub()
        self.pull(hub)
        other = "f" * 40
        hub.revisions = {"main": other, other: other}
        hub.files["config.json"] = b'{"a": 2}\n'
        sent = hub.sent
        self.pull(hub)
        self.assertEqual(hub.sent - sent, len(hub.files["config.json"]))
        self.assertEqual((self.repo_folder() / "refs/main").read_text(), other)
        self.assertEqual((self.repo_folder() / "snapshots" / other / BIG).read_bytes(), hub.files[BIG])

    def test_as_many_connections_as_it_takes(self):
        self.connections = ()
        fast = self.hub()
        self.pull(fast)
        self.assert_whole(fast)
        # One request for all of it.
        self.assertEqual([request.range for request in fast.requests if BIG in request.path and request.store],
                         [f"bytes=0-{len(fast.files[BIG]) - 1}"])
        self.setUp()
        slow = self.hub(pace=0.02)
        self.pull(slow)
        self.assert_whole(slow)
        self.assertGreater(slow.most_at_once, 4)
        self.assertEqual(fast.most_at_once, 1)

    def test_a_terminal_sees_a_bar(self):
        hub = self.hub(pace=0.02)
        terminal, of_process = pty.openpty()
        process = subprocess.Popen([WORKER, "pull", *self.pieces, "--connections=1", "org/model"],
                                   env=self.environment(hub), stdout=subprocess.PIPE, stderr=of_process)
        os.close(of_process)
        said = b""
        try:
            while data := os.read(terminal, 4096):
                said += data
        except OSError:  # nobody has its other end any more
            pass
        os.close(terminal)
        process.communicate(timeout=PATIENCE_S)
        self.assertEqual(process.returncode, 0, said)
        self.assertRegex(said, rb"\r\x1b\[Kmodel \[#+-+\]  ?\d+ %, 0\.0 of 0\.0 GB, \d+\.\d MB/s, \d:\d\d left")
        self.assertTrue(said.endswith(b"\r\x1b[K"), said[-80:])

    def test_a_token_goes_to_the_hub_alone(self):
        hub = self.hub(token="hf_secret")
        self.pull(hub, HF_TOKEN="hf_secret")
        self.assert_whole(hub)
        self.assertEqual({request.authorization for request in hub.requests if request.store}, {""})
        self.assertEqual({request.authorization for request in hub.requests if not request.store},
                         {"Bearer hf_secret"})

    def test_files_that_xet_keeps(self):
        hub = self.hub(token="hf_secret", xet=True)
        self.pull(hub, HF_TOKEN="hf_secret")
        self.assert_whole(hub)
        stored = [request for request in hub.requests if request.store]
        self.assertEqual({request.method for request in stored}, {"GET"})
        self.assertTrue(all(request.path.startswith("/xet-bridge-us/") for request in stored), stored)
        self.assertEqual({request.authorization for request in stored}, {""})
        self.assertEqual(hub.count("/xet-read-token/"), 0)
        self.assertEqual(hub.count("/api/resolve-cache/"), len([path for path in NEEDED if not hub.is_lfs(path)]))
        self.assertEqual(hub.sent, sum(len(hub.files[path]) for path in NEEDED))

    def test_fills_a_folder(self):
        hub = self.hub()
        folder = pathlib.Path(self.folder.name, "model")
        self.assertEqual(self.pull(hub, "--local_dir", str(folder), "org/model"), str(folder))
        for path in NEEDED:
            self.assertEqual((folder / path).read_bytes(), hub.files[path])
            record = (folder / ".cache/huggingface/download" / f"{path}.metadata").read_text().split()
            self.assertEqual(record[:2], [COMMIT, hub.etag(path)])
        sent = hub.sent
        self.pull(hub, "--local_dir", str(folder), "org/model")
        self.assertEqual(hub.sent, sent)
        self.assertFalse(list(folder.rglob("*.incomplete*")))


class BadDays(PullCase):
    def heals(self, *faults, **more):
        hub = self.hub(**more)
        hub.faults = list(faults)
        self.pull(hub)
        self.assert_whole(hub)
        return hub

    def test_connections_that_break(self):
        hub = self.heals(Fault(BIG, 6, store=True, cut_after=100_000), Fault("config.json", 2, cut_after=3))
        # What has come is not asked for again.
        self.assertLess(hub.sent, sum(len(hub.files[path]) for path in NEEDED) + 6 * (2 << 16))

    def test_a_connection_that_hangs(self):
        self.heals(Fault(BIG, 1, store=True, stall_s=4))

    def test_too_many_requests(self):
        began = time.monotonic()
        self.heals(Fault("/api/", 1, status=429, headers={"Retry-After": "1"}),
                   Fault(BIG, 2, store=True, status=429, headers={"Retry-After": "1"}))
        self.assertGreater(time.monotonic() - began, 2)

    def test_a_hub_that_is_down_for_a_while(self):
        self.heals(Fault("/api/", 2, status=503), Fault("config.json", 1, status=500), Fault(BIG, 2, status=502))

    def test_ranges_that_are_ignored(self):
        hub = self.heals(Fault(BIG, 1000, store=True, ignore_range=True))
        self.assertEqual([request.range for request in hub.requests if request.store and BIG in request.path][-1], "")

    def test_ranges_that_are_ignored_and_break(self):
        # As many as one connection bears in a row, if all of them hit it and bring nothing new.
        self.heals(Fault(BIG, 4, store=True, ignore_range=True, cut_after=1 << 20))

    def test_a_length_that_is_none_of_the_file(self):
        self.heals(Fault(BIG, 3, store=True, lie_length=5))

    def test_signed_addresses_that_run_out(self):
        for xet in (False, True):
            with self.subTest(xet=xet):
                self.setUp()
                hub = self.heals(Fault(BIG, 3, store=True, status=403), Fault("model-00002", 2, store=True, status=403),
                                 xet=xet)
                # A new one each time.
                asked = [request.path for request in hub.requests if request.store]
                self.assertTrue(not xet or len(set(asked)) == len(asked), asked)

    def test_wrong_bytes_get_no_name(self):
        hub = self.hub()
        hub.faults = [Fault(BIG, 1000, store=True, flip=True)]
        word = self.pull(hub, code=1)
        self.assertRegex(word, f"{BIG}: what came has the digest [0-9a-f]{{64}}, by the hub's word it is "
                               f"{hub.etag(BIG)}; it was thrown away")
        blobs = {path.name for path in (self.repo_folder() / "blobs").iterdir()}
        self.assertFalse([name for name in blobs if name.startswith(hub.etag(BIG))])
        self.assertFalse((self.repo_folder() / "refs").exists())
        hub.faults = []
        self.pull(hub)
        self.assert_whole(hub)

    def test_wrong_bytes_of_git_files_get_no_name(self):
        hub = self.hub()
        hub.faults = [Fault("tokenizer.json", 1000, flip=True)]
        self.assertIn("tokenizer.json: what came has the digest", self.pull(hub, code=1))

    def test_a_hub_that_never_answers(self):
        word = self.pull(None, code=1)
        self.assertIn("127.0.0.1:9: ", word)


class OnTheWay(PullCase):
    """What stands between worker and hub, or where the files go."""

    def certificate(self):
        key, cert = (pathlib.Path(self.folder.name, name) for name in ("key.pem", "cert.pem"))
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=hub",
                        "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"], check=True, capture_output=True)
        return cert, key

    def test_a_hub_with_a_ca_of_its_own(self):
        cert, key = self.certificate()
        hub = self.hub(tls=(cert, key))
        self.assertIn("certificate", self.pull(hub, code=1))
        for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
            with self.subTest(name):
                self.cache = pathlib.Path(self.folder.name, name)
                self.pull(hub, **{name: str(cert)})
                self.assert_whole(hub)
        self.assertIn("REQUESTS_CA_BUNDLE", self.pull(hub, code=78, REQUESTS_CA_BUNDLE="/not/there"))

    def test_through_a_proxy(self):
        hub = self.hub()
        with Proxy() as proxy:
            self.pull(hub, http_proxy=proxy.url)
            self.assert_whole(hub)
            self.assertTrue(any("/api/models/org/model" in line for line in proxy.asked), proxy.asked)
            proxy.asked.clear()
            self.cache = pathlib.Path(self.folder.name, "second")
            self.pull(hub, http_proxy=proxy.url, no_proxy="127.0.0.1,localhost")
            self.assertEqual(proxy.asked, [])

    def test_through_a_tunnel(self):
        cert, key = self.certificate()
        hub = self.hub(tls=(cert, key))
        with Proxy() as proxy:
            self.pull(hub, https_proxy=proxy.url, SSL_CERT_FILE=str(cert))
            self.assert_whole(hub)
            self.assertTrue(all(line.startswith("CONNECT ") for line in proxy.asked), proxy.asked)

    def test_a_proxy_that_is_not_there(self):
        said = self.pull(self.hub(), code=1, http_proxy="http://127.0.0.1:9")
        self.assertIn("Couldn't connect", said, "curl's own words, unescaped")

    def test_a_disk_that_is_too_small_is_known_before(self):
        unshare = ["unshare", "--map-root-user", "--mount"]
        if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode != 0:
            self.skipTest("this machine allows no namespaces")
        hub = self.hub()
        self.cache.mkdir()
        small = f"mount -t tmpfs -o size=2m tmpfs {self.cache} && exec {WORKER} pull --piece_bytes={PIECE} org/model"
        told = subprocess.run([*unshare, "sh", "-c", small], env=self.environment(hub), capture_output=True, text=True,
                              timeout=PATIENCE_S, check=False)
        self.assertEqual(told.returncode, 1, told.stderr)
        needed = sum(len(hub.files[path]) for path in NEEDED if path.startswith("model-")) + PIECE
        self.assertRegex(told.stderr, rf"{needed} bytes are needed for org/model, \d+ are free")
        self.assertEqual(hub.count("model-0000"), 0)

    def test_a_full_disk_keeps_what_came(self):
        hub = self.hub()
        limited = f"ulimit -f {(1 << 20) // 1024}; trap '' XFSZ; exec {WORKER} pull --piece_bytes={PIECE} --connections=1 org/model"
        told = subprocess.run(["bash", "-c", limited], env=self.environment(hub), capture_output=True, text=True,
                              timeout=PATIENCE_S, check=False)
        self.assertNotEqual(told.returncode, 0)
        self.assertIn("cannot be written: File too large", told.stderr)
        incomplete = self.blob(hub, BIG).with_name(hub.etag(BIG) + ".incomplete")
        self.assertEqual(incomplete.read_bytes(), hub.files[BIG][:1 << 20])
        before = hub.sent
        self.pull(hub)
        self.assert_whole(hub)
        self.assertLess(hub.sent - before, sum(len(hub.files[path]) for path in NEEDED) - (1 << 20) + 1)


class Resumption(PullCase):
    def kill_midway(self, hub, share):
        process = self.start(hub)
        total = sum(len(hub.files[path]) for path in NEEDED)
        deadline = time.monotonic() + PATIENCE_S
        while hub.sent < total * share and time.monotonic() < deadline:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.communicate()

    def test_a_killed_download_loses_little(self):
        hub = self.hub(pace=0.01)
        for share in (0.2, 0.5):
            self.kill_midway(hub, share)
        incomplete = self.blob(hub, BIG).with_name(hub.etag(BIG) + ".incomplete")
        begun = incomplete.read_bytes()
        self.assertEqual(begun, hub.files[BIG][:len(begun)])
        hub.pace = 0
        self.pull(hub)
        self.assert_whole(hub)
        total = sum(len(hub.files[path]) for path in NEEDED)
        # Two kills: what eight connections had on their way, at most 64 KB each of them.
        self.assertLess(hub.sent - total, 2 * 8 * (4 << 16))

    def test_pieces_as_large_as_they_are_lose_no_more(self):
        self.pieces = ()
        hub = self.hub(checkpoint(**{BIG: weights(80)}), pace=0.002)
        self.kill_midway(hub, 0.6)
        hub.pace = 0
        self.pull(hub)
        self.assert_whole(hub)
        total = sum(len(hub.files[path]) for path in NEEDED)
        self.assertGreaterEqual(hub.sent, total)
        self.assertLess(hub.sent - total, 8 << 20)

    def leave(self, hub, name, data):
        path = self.repo_folder() / "blobs" / name
        path.parent.mkdir(parents=True)
        path.write_bytes(data)
        return path

    def test_goes_on_from_what_huggingface_hub_left(self):
        for name in ("{}.incomplete", "{}.0a1b2c3d.incomplete"):
            with self.subTest(name):
                self.setUp()
                hub = self.hub()
                there = 2 << 20
                self.leave(hub, name.format(hub.etag(BIG)), hub.files[BIG][:there])
                self.pull(hub)
                self.assert_whole(hub)
                self.assertEqual(hub.sent, sum(len(hub.files[path]) for path in NEEDED) - there)

    def test_leftovers_that_are_wrong_are_brought_anew(self):
        hub = self.hub()
        self.leave(hub, f"{hub.etag(BIG)}.incomplete", bytes(range(256)) * 4096)
        self.pull(hub)
        self.assert_whole(hub)

    def test_leftovers_with_holes_or_too_long_are_not_believed(self):
        hub = self.hub()
        path = self.leave(hub, f"{hub.etag(BIG)}.incomplete", b"")
        os.truncate(path, 2 << 20)
        self.pull(hub)
        self.assert_whole(hub)
        self.setUp()
        hub = self.hub()
        self.leave(hub, f"{hub.etag(BIG)}.incomplete", hub.files[BIG] + b"more")
        self.pull(hub)
        self.assert_whole(hub)

    def test_two_pull_once(self):
        hub = self.hub(pace=0.005)
        processes = [self.start(hub) for _ in range(2)]
        for process in processes:
            _, err = process.communicate(timeout=PATIENCE_S)
            self.assertEqual(process.returncode, 0, err)
        self.assert_whole(hub)
        self.assertEqual(hub.sent, sum(len(hub.files[path]) for path in NEEDED))

    def test_waits_for_the_lock_that_huggingface_hub_holds(self):
        hub = self.hub()
        lock = self.cache / ".locks/models--org--model" / f"{hub.etag(BIG)}.lock"
        lock.parent.mkdir(parents=True)
        with open(lock, "w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            process = self.start(hub)
            for line in process.stderr:
                if "waiting for another process's download" in line:
                    break
            self.assertEqual(hub.count(f"/{BIG}"), 0)
            # The other one finishes.
            self.blob(hub, BIG).write_bytes(hub.files[BIG])
        process.communicate(timeout=PATIENCE_S)
        self.assertEqual(process.returncode, 0)
        self.assert_whole(hub)
        self.assertEqual(hub.count(f"/{BIG}"), 0)


class Refusals(PullCase):
    def test_say_what_helps(self):
        gated = self.hub(token="hf_right")
        self.assertIn(f"it is gated: accept its terms at {gated.url}/org/model, and say who you are by HF_TOKEN",
                      self.pull(gated, code=78))
        self.assertIn("the account of HF_TOKEN may not have it", self.pull(gated, code=78, HF_TOKEN="hf_wrong"))
        hub = self.hub()
        self.assertIn("there is no such model; check its name", self.pull(hub, "org/other", code=78))
        self.assertIn("it has no such branch, tag or commit", self.pull(hub, "org/model@v9", code=78))
        hub.faults = [Fault("/api/", 1, status=401)]
        self.assertIn("there is none of that name for everybody", self.pull(hub, code=78))
        hub.faults = [Fault("/api/", 1, status=403)]
        self.assertIn("it is gated", self.pull(hub, code=78))

    def test_a_repository_without_a_checkpoint(self):
        hub = self.hub({"config.json": b"{}", "model-q4_k_m.gguf": b"GGUF"})
        self.assertIn("it has GGUF files: download one of them", self.pull(hub, code=78))
        hub = self.hub({name: data for name, data in checkpoint().items() if name != BIG})
        self.assertIn(f"org/model has no {BIG}", self.pull(hub, code=78))

    def test_what_answers_is_no_hub(self):
        hub = self.hub()
        hub.faults = [Fault("/api/", 1, status=200)]
        self.assertIn("sends no JSON object, as a hub's answer would be; is HF_ENDPOINT right",
                      self.pull(hub, code=1))

    def test_names_are_checked_first(self):
        self.assertIn("is no one model", self.pull(None, "deepseek-r1:8b", code=78))
        self.assertIn("is neither a folder or file here nor a model's name", self.pull(None, "../x", code=78))
        self.assertIn("needs one name", self.pull(None, "a/b", "c/d", code=78))

    def test_etags_and_paths_that_would_leave_the_cache(self):
        hub = self.hub()
        hub.wrong_etags[BIG] = "../../../x"
        self.assertIn("has no ETag", self.pull(hub, code=1))
        self.setUp()
        index = json.dumps({"weight_map": {"x": "../../../x"}}).encode()
        hub = self.hub(checkpoint(**{"model.safetensors.index.json": index}))
        self.assertIn("which may be no path here", self.pull(hub, code=78))

    def test_offline_takes_what_is_here(self):
        hub = self.hub()
        self.assertIn("HF_HUB_OFFLINE forbids", self.pull(hub, code=1, HF_HUB_OFFLINE="1"))
        self.pull(hub)
        self.assertEqual(self.pull(None, HF_HUB_OFFLINE="1"), str(self.repo_folder() / "snapshots" / COMMIT))
        self.assertEqual(self.pull(None), str(self.repo_folder() / "snapshots" / COMMIT))


class Serving(PullCase):
    """thinkwire-worker --model NAME."""

    def tiny(self):
        folder = REPOSITORY / "deploy/models/tiny-r1"
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    def worker(self, hub, *arguments, **environment):
        process = subprocess.Popen(
            [WORKER, "--device=cpu", "--max_model_len=256", "--metrics_listen=127.0.0.1:0", *arguments],
            env=self.environment(hub, **environment), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def wait_for(self, process, message):
        for line in process.stderr:
            if line.startswith("{") and json.loads(line)["message"] == message:
                return json.loads(line)
        self.fail(f"no {message}")

    def health(self, port):
        chat = BUILD / "router/thinkwire-chat"
        return subprocess.run([chat, f"--probe=127.0.0.1:{port}"], capture_output=True, text=True, timeout=PATIENCE_S)

    def test_downloads_behind_health_that_says_so_then_serves(self):
        hub = self.hub(self.tiny(), pace=0.05)
        worker = self.worker(hub, "--model=org/model", "--listen=127.0.0.1:0")
        door = self.wait_for(worker, "downloading the model")
        self.assertEqual(self.health(door["port"]).returncode, 1)
        page = ""
        while not re.search(r"download_total_bytes [1-9]", page):
            with urllib.request.urlopen(f"http://127.0.0.1:{door['metrics_port']}/metrics") as answer:
                page = answer.read().decode()
        self.assertRegex(page, r"thinkwire_worker_download_done_bytes \d")
        hub.pace = 0
        listening = self.wait_for(worker, "listening")
        self.assertEqual(listening["served_model_name"], "model")
        self.assertEqual(self.health(listening["port"]).returncode, 0)

    def test_lists_what_is_here_and_what_it_takes(self):
        hub = self.hub(self.tiny())
        self.pull(hub)
        other = self.cache / "models--org--part/snapshots" / ("f" * 40) / "config.json"
        other.parent.mkdir(parents=True)
        other.write_text("{}")
        listed = subprocess.run([WORKER, "--list"], env=self.environment(None), capture_output=True, text=True,
                                timeout=PATIENCE_S, check=True).stdout.splitlines()
        listed = [line for line in listed if "cuda: " not in line]
        self.assertEqual(listed[0], f"{self.cache}: 2 models")
        self.assertRegex(listed[1], r"^cpu: \d+\.\d GB are free$")
        self.assertEqual(listed[2], "org/model  main  1234567890ab  0.0 GB")
        self.assertRegex(listed[3], r"^  cpu: weights 0\.0 GB, KV \d+\.\d MB a thousand tokens: fits, \d+ tokens of context$")
        self.assertEqual(listed[4:], ["org/part  -  ffffffffffff  0.0 GB",
                                      "  not whole: lacks model.safetensors, tokenizer.json"])

    def test_what_is_here_is_served_without_the_hub(self):
        hub = self.hub(self.tiny())
        self.pull(hub)
        asked = len(hub.requests)
        worker = self.worker(hub, "--model=org/model", "--listen=127.0.0.1:0", "--served_model_name=mine")
        self.assertEqual(self.wait_for(worker, "listening")["served_model_name"], "mine")
        self.assertEqual(len(hub.requests), asked)

    def test_a_model_that_is_nowhere_ends_it(self):
        hub = self.hub()
        worker = self.worker(hub, "--model=org/other", "--listen=127.0.0.1:0")
        _, err = worker.communicate(timeout=PATIENCE_S)
        self.assertEqual(worker.returncode, 78)
        self.assertIn("there is no such model", err)


if __name__ == "__main__":
    if not WORKER.exists():
        sys.exit(f"{WORKER}: not built")
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]])
