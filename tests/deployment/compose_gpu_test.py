#!/usr/bin/python3
"""Checks deploy/compose.gpu.yaml by what runs without a container engine: its text against the schema of the Compose
Specification, and its one service as processes, twice, with a hub on this machine and a CPU for the GPU.

Usage: compose_gpu_test.py BUILD_FOLDER
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request

import stack

if __name__ == "__main__":
    stack.enter_namespaces("jsonschema", "yaml", programs=())

import jsonschema  # noqa: E402
import yaml  # noqa: E402

sys.path.append(str(stack.REPOSITORY / "tests/hub"))
import fake_hub  # noqa: E402

BUILD = pathlib.Path(sys.argv.pop(1)).resolve() if len(sys.argv) > 1 else None
FILE = stack.REPOSITORY / "deploy/compose.gpu.yaml"
PROGRAMS = ("router/thinkwire-router", "router/thinkwire-chat", "worker/thinkwire-worker")


def read(file=FILE, **variables):
    """The file as a container engine has it, with these variables of its user's."""
    text = re.sub(r"\$\{(\w+):-([^}]*)\}", lambda v: variables.get(v[1], v[2]), file.read_text(encoding="utf-8"))
    return yaml.safe_load(text)


class Text(unittest.TestCase):
    def test_pleases_the_schema(self):
        schema = json.loads((pathlib.Path(__file__).parent / "compose-spec.json").read_text())
        self.assertEqual([e.message for e in jsonschema.Draft7Validator(schema).iter_errors(read())], [])

    def test_what_it_names_is_there(self):
        whole = read()
        (service,) = whole["services"].values()
        self.assertEqual(stack.entrypoint(service["build"]["target"]), ["/opt/thinkwire/bin/thinkwire-worker"])
        self.assertTrue((FILE.parent / service["build"]["context"] / service["build"]["dockerfile"]).exists())
        self.assertEqual([c["source"] for c in service["configs"]], list(whole["configs"]))
        self.assertEqual([v.split(":")[0] for v in service["volumes"]], list(whole["volumes"]))
        (place,) = [v.split(":")[1] for v in service["volumes"]]
        self.assertEqual(service["environment"]["HF_HOME"], place)
        # A new volume has the owner of the image's folder, and the service is not root.
        dockerfile = (stack.REPOSITORY / "deploy/Dockerfile").read_text()
        self.assertEqual(dockerfile.count(f"install -d -o 65532 -g 65532 {place}"), dockerfile.count("USER 65532"))
        self.assertEqual(dockerfile.count(f"ENV HF_HOME={place}"), dockerfile.count("USER 65532"))

    def test_a_worker_uses_the_gpus_that_it_takes(self):
        for file, service in ((FILE, "thinkwire"), (stack.REPOSITORY / "compose.yaml", "worker-gpu")):
            for variables, count in (({}, "1"), ({"THINKWIRE_GPUS": "2"}, "2")):
                said = read(file, **variables)["services"][service]
                self.assertEqual(said["deploy"]["resources"]["reservations"]["devices"],
                                 [{"driver": "nvidia", "count": count, "capabilities": ["gpu"]}])
                self.assertEqual(said["environment"]["THINKWIRE_WORKER_TENSOR_PARALLEL_SIZE"], count)


class Service(unittest.TestCase):
    """Its one container as processes; its places lie in a folder."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.places = {place: pathlib.Path(folder.name, name) for place, name in (
            ("/opt/thinkwire/bin", "bin"), ("/etc/thinkwire", "etc"), ("/models", "models"))}
        for place in self.places.values():
            place.mkdir()
        for program in PROGRAMS:
            (self.places["/opt/thinkwire/bin"] / pathlib.Path(program).name).symlink_to(BUILD / program)
        whole = read()
        (self.service,) = whole["services"].values()
        (config,) = self.service["configs"]
        pathlib.Path(self.here(config["target"])).write_text(whole["configs"][config["source"]]["content"])
        model = stack.REPOSITORY / "deploy/models/tiny-r1"
        self.hub = fake_hub.Hub({file.name: file.read_bytes() for file in model.iterdir()},
                                "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B")
        self.hub.__enter__()
        self.addCleanup(self.hub.__exit__)

    def here(self, text):
        for place, folder in self.places.items():
            text = text.replace(place, str(folder))
        return text

    def start(self):
        variables = {name: self.here(value) for name, value in self.service["environment"].items()}
        words = [self.here(word).replace("$$", "$") for word in self.service["entrypoint"] + self.service["command"]]
        process = subprocess.Popen(words, env={"PATH": os.environ["PATH"], "HF_ENDPOINT": self.hub.url, **variables},
                                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.kill)
        return process

    def wait_until_healthy(self, process):
        test = [self.here(word) for word in self.service["healthcheck"]["test"][1:]]
        give_up = time.monotonic() + stack.PATIENCE_S
        while subprocess.run(test, capture_output=True, check=False).returncode != 0:
            self.assertIsNone(process.poll())
            self.assertLess(time.monotonic(), give_up)
            time.sleep(0.1)

    def ask(self, host):
        """What the door answers who came by this name for it."""
        body = {"model": "qwen-7b", "temperature": 0, "messages": [{"role": "user", "content": "What is 27+48?"}]}
        request = urllib.request.Request("http://localhost:8080/v1/chat/completions", json.dumps(body).encode(),
                                         {"Content-Type": "application/json", "Host": host})
        with urllib.request.urlopen(request, timeout=stack.PATIENCE_S) as answer:
            return json.load(answer)["choices"][0]["message"]["content"]

    def test_serves_what_it_has_fetched_once(self):
        process = self.start()
        self.wait_until_healthy(process)
        (name,) = read()["services"]  # by which another container reaches it
        for host in ("localhost:8080", f"{name}:8080"):
            self.assertIn("75", self.ask(host))
        process.terminate()
        self.assertEqual(process.wait(stack.PATIENCE_S), 0)
        asked = len(self.hub.requests)
        process = self.start()
        self.wait_until_healthy(process)
        self.assertEqual(len(self.hub.requests), asked)
        process.terminate()
        self.assertEqual(process.wait(stack.PATIENCE_S), 0)

    def test_ends_where_a_process_of_it_does(self):
        self.hub.revisions = {}  # so that the worker finds no model
        process = self.start()
        self.assertEqual(process.wait(stack.PATIENCE_S), 1)


if __name__ == "__main__":
    unittest.main()
