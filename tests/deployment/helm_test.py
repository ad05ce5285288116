#!/usr/bin/python3
"""Whether the Helm chart says what the overlay one-gpu says, and what its values change.

Helm itself is in no package of Debian's: what the chart uses of its templates is rendered here. Where the Python of this
script has helm-python-sdk (0.2.2 of PyPI, with Helm 4 in it; too large for CI), Helm's own rendering must be the same.
"""

import ast
import copy
import hashlib
import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
import unittest

if importlib.util.find_spec("yaml") is None:
    print("skipped: without yaml (deploy/setup.sh --tests)")
    sys.exit(77)
import yaml  # noqa: E402

import kubernetes_schemas  # noqa: E402
import manifests as m  # noqa: E402

CHART = m.FOLDER / "helm"
BLOCK = re.compile(r"^\{\{- (if|with) (\S+) \}\}\n(.*?)^\{\{- end \}\}\n", re.M | re.S)


def functions(value, name):
    words = name.split()
    if words == ["quote"]:
        return json.dumps(str(value), ensure_ascii=False)
    if words == ["sha256sum"]:
        return hashlib.sha256(value.encode()).hexdigest()
    if words[0] == "trunc":
        return value[:int(words[1])]
    raise ValueError(name)


def evaluate(expression, context):
    printf = re.fullmatch(r"printf (\"[^\"]*\") \((.*)\)", expression)
    if printf:
        return ast.literal_eval(printf[1]) % evaluate(printf[2], context)
    head, *pipes = expression.split(" | ")
    printf = re.fullmatch(r"printf (\"[^\"]*\") (\S+) (\S+)", head)
    if printf:
        value = ast.literal_eval(printf[1]) % (evaluate(printf[2], context), evaluate(printf[3], context))
    else:
        value = context
        for key in filter(None, head.split(".")):
            value = value[key]
    for pipe in pipes:
        value = functions(value, pipe)
    return value


def render_text(text, context):
    def block(match):
        value = evaluate(match[2], context)
        inner = match[3].replace("{{ . | quote }}", json.dumps(value))
        return inner if value else ""
    text = BLOCK.sub(block, text)
    return re.sub(r"\{\{ (.*?) \}\}", lambda match: str(evaluate(match[1], context)), text)


def merged(base, changes):
    out = copy.deepcopy(base)
    for key, value in changes.items():
        out[key] = merged(out[key], value) if isinstance(value, dict) else value
    return out


def helms(values):
    """Helm's own rendering; None where there is no Helm."""
    if importlib.util.find_spec("helm_python") is None:
        return None
    from helm_python import chart
    with chart.Chart.load(CHART) as loaded:
        texts = loaded.render(values=values, name="release", namespace="thinkwire")
    return sorted((yaml.safe_load(text) for text in texts.values() if yaml.safe_load(text)), key=key_of)


def key_of(thing):
    return thing["kind"], thing["metadata"]["name"]


def rendered(changes=None):
    """All objects of the chart, by kind and name."""
    values = merged(yaml.safe_load((CHART / "values.yaml").read_text()), changes or {})
    context = {"Values": values, "Release": {"Namespace": "thinkwire"}}
    things = [yaml.safe_load(render_text(path.read_text(), context)) for path in sorted(CHART.glob("templates/*.yaml"))]
    things = sorted((thing for thing in things if thing), key=key_of)
    by_helm = helms(changes or {})
    assert by_helm is None or by_helm == things, "Helm renders something else"
    return things


def of_overlay(thing):
    """What the chart calls otherwise, in the overlay's words."""
    thing = copy.deepcopy(thing)
    if thing["kind"] == "Job":
        thing["metadata"]["name"] = re.sub(r"-[0-9a-f]{8}$", "", thing["metadata"]["name"])
    if thing["kind"] == "Deployment":
        pod = thing["spec"]["template"]
        pod["metadata"].get("annotations", {}).pop("checksum/config", None)
        if not pod["metadata"].get("annotations", True):
            del pod["metadata"]["annotations"]
    return json.loads(re.sub(r"thinkwire-router-[a-z0-9]{10}\b", "thinkwire-router", json.dumps(thing)))


class Chart(unittest.TestCase):
    maxDiff = None

    def test_is_as_it_is_made(self):
        environment = {**os.environ, "KUSTOMIZE": shlex.join(str(word) for word in m.kustomize())}
        made = subprocess.run([sys.executable, m.FOLDER / "make_chart.py", "--check"], env=environment, text=True,
                              stdout=subprocess.PIPE, check=False)
        self.assertEqual((made.returncode, made.stdout), (0, ""))

    def test_says_what_the_overlay_says(self):
        expected = [of_overlay(o) for o in m.render("one-gpu") if o["kind"] != "Namespace"]
        self.assertEqual([of_overlay(o) for o in rendered()], sorted(expected, key=key_of))

    def test_values_change_what_they_are_for(self):
        things = rendered({"model": {"repo": "org/mine", "folder": "/models/mine"}, "worker": {"replicas": 3, "gpus": 2},
                           "images": {"worker": "registry/worker:2"}, "monitoring": {"enabled": False},
                           "volume": {"size": "1Ti", "storageClass": "fast"}, "routerConfig": "variants: []\n",
                           "http": {"hosts": "chat.example.org"}})
        kinds = {thing["kind"] for thing in things}
        self.assertFalse(kinds & kubernetes_schemas.OF_OTHERS)
        (worker,) = m.of_kind(things, "StatefulSet")
        self.assertEqual(worker["spec"]["replicas"], 3)
        serving = worker["spec"]["template"]["spec"]["containers"][0]
        self.assertEqual(serving["image"], "registry/worker:2")
        self.assertEqual(serving["resources"]["limits"]["nvidia.com/gpu"], 2)
        self.assertIn({"name": "THINKWIRE_WORKER_MODEL", "value": "/models/mine"}, serving["env"])
        (router,) = [c for c in m.servers(things) if c.owner["kind"] == "Deployment"]
        self.assertEqual(m.settings(router)["http_hosts"], "chat.example.org")
        (volume,) = m.of_kind(things, "PersistentVolumeClaim")
        self.assertEqual(volume["spec"]["storageClassName"], "fast")
        self.assertEqual(volume["spec"]["resources"]["requests"]["storage"], "1Ti")
        (router,) = [t for t in m.of_kind(things, "ConfigMap") if m.name_of(t) == "thinkwire-router"]
        self.assertEqual(router["data"]["router.yaml"], "variants: []\n")

    def test_a_worker_uses_the_gpus_that_it_takes(self):
        for gpus in (1, 2, 8):
            (worker,) = [c for c in m.servers(rendered({"worker": {"gpus": gpus}})) if c.owner["kind"] == "StatefulSet"]
            self.assertEqual(worker.spec["resources"]["limits"], {"nvidia.com/gpu": gpus})
            self.assertEqual(m.settings(worker)["tensor_parallel_size"], str(gpus))

    def test_another_model_is_another_job_and_another_config_another_pod(self):
        def job(things):
            return m.name_of(*m.of_kind(things, "Job"))

        def checksum(things):
            (router,) = m.of_kind(things, "Deployment")
            return router["spec"]["template"]["metadata"]["annotations"]["checksum/config"]
        first, other = rendered(), rendered({"model": {"revision": "v2"}, "routerConfig": "variants: []\n"})
        self.assertNotEqual(job(first), job(other))
        self.assertNotEqual(checksum(first), checksum(other))

    def test_pleases_kubernetes_schemas(self):
        folder = kubernetes_schemas.schemas()
        for version in kubernetes_schemas.VERSIONS:
            of_version = folder / f"v{version}.0-local-strict"
            for thing in rendered({"volume": {"storageClass": "fast"}}):
                if thing["kind"] not in kubernetes_schemas.OF_OTHERS:
                    self.assertEqual(kubernetes_schemas.faults(of_version, thing), [], key_of(thing))


if __name__ == "__main__":
    unittest.main()
