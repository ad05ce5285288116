#!/usr/bin/python3
"""Holds every object of deploy/kubernetes against Kubernetes' own schemas, with nothing in it that they do not name.

What is of others (ServiceMonitor, PodMonitor, ScaledObject) has no schema here: kubernetes_rules.py looks at what it
refers to.
"""

import functools
import importlib.util
import json
import sys

missing = [name for name in ("jsonschema", "yaml") if importlib.util.find_spec(name) is None]
if missing:
    print(f"skipped: without {', '.join(missing)} (deploy/setup.sh --tests)")
    sys.exit(77)
import jsonschema  # noqa: E402

import manifests as m  # noqa: E402

VERSIONS = ("1.31", "1.34", "1.37")
OF_OTHERS = {"ServiceMonitor", "PodMonitor", "ScaledObject"}


def schemas():
    """The folder of all versions' schemas; ends the script where there is none."""
    found = list(m.TOOLS.glob("lib/python*/site-packages/kubernetes_validate/kubernetes-json-schema"))
    if not found:
        print("skipped: without Kubernetes' schemas (deploy/setup.sh --all)")
        sys.exit(m.SKIPPED)
    return found[0]


@functools.lru_cache(maxsize=None)
def read(file):
    return json.loads(file.read_text(encoding="utf-8"))


class Definitions(jsonschema.RefResolver):
    """All references are to definitions of one file, by name; looking for them as jsonschema does takes a minute."""

    def __init__(self, folder, schema):
        super().__init__("", schema)
        self._definitions = read(folder / "_definitions.json")["$defs"]

    def resolve(self, ref):
        file, _, name = ref.partition("#/$defs/")
        assert file in ("", "/api/_definitions.json"), ref
        return ref, self._definitions[name]


def validator(folder, thing):
    group, _, version = thing["apiVersion"].rpartition("/")
    name = "-".join(filter(None, (thing["kind"].lower(), group.split(".")[0], version)))
    schema = read(folder / f"{name}.json")
    return jsonschema.Draft202012Validator(schema, resolver=Definitions(folder, schema))


def faults(folder, thing):
    return [f"{e.json_path}: {e.message}" for e in validator(folder, thing).iter_errors(thing)]


def check_that_a_fault_is_found(folder, objects):
    (deployment,) = m.of_kind(objects, "Deployment")
    wrong = json.loads(json.dumps(deployment))
    wrong["spec"]["template"]["spec"]["containers"][0]["livenessProb"] = {}
    assert faults(folder, deployment) == [] and faults(folder, wrong), "the schemas let everything through"


def main():
    m.kustomize()
    held, failed = 0, 0
    for version in VERSIONS:
        folder = schemas() / f"v{version}.0-local-strict"
        check_that_a_fault_is_found(folder, m.render("cpu-demo"))
        for overlay in m.OVERLAYS:
            for thing in m.render(overlay):
                if thing["kind"] in OF_OTHERS:
                    continue
                held += 1
                for fault in faults(folder, thing):
                    failed += 1
                    print(f"FAILED: {overlay}, Kubernetes {version}: {thing['kind']} {m.name_of(thing)}: {fault}")
    print(f"{held} objects held against Kubernetes {', '.join(VERSIONS)}: {failed} faults")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
