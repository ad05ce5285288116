#!/usr/bin/python3
"""What the manifests of deploy/kubernetes promise, told from their text: how pods end, what they may do, who reaches
whom, and that every name in them means something.

Usage: kubernetes_rules.py BUILD_FOLDER
"""

import importlib.util
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

if importlib.util.find_spec("yaml") is None:
    print("skipped: without yaml (deploy/setup.sh --tests)")
    sys.exit(77)
import yaml  # noqa: E402

import manifests as m  # noqa: E402

BUILD = pathlib.Path(sys.argv.pop(1))
ENDING_S = 12  # from the end of a drain to that of the process, at most
HEALTH_NAMES = {"liveness", "readiness"}
SECRETS = {"thinkwire-router-tls", "thinkwire-worker-tls", "thinkwire-keys"}  # which the README has made


def seconds_of_pre_stop(container):
    command = container.spec.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command")
    if command is None:
        return 0
    assert command[0] == "/bin/sleep" and len(command) == 2, command
    return int(command[1])


class Rules(unittest.TestCase):
    where = ""  # what is looked at

    def _formatMessage(self, msg, standardMsg):
        return f"{self.where}: {super()._formatMessage(msg, standardMsg)}"

    def each(self):
        for overlay in m.OVERLAYS:
            self.where = overlay
            yield m.render(overlay)

    def each_container(self, chosen=m.containers):
        for objects in self.each():
            overlay = self.where
            for container in chosen(objects):
                self.where = f"{overlay}: {container.where}"
                yield container

    def each_server(self):
        return self.each_container(m.servers)

    def test_a_pod_has_longer_than_its_drain(self):
        for container in self.each_server():
            program = pathlib.Path(container.command[0]).name
            drain = int(m.settings(container).get("drain_timeout_s", m.options(BUILD, program)["drain_timeout_s"]))
            grace = container.pod["terminationGracePeriodSeconds"]
            self.assertGreater(grace, seconds_of_pre_stop(container) + drain + ENDING_S)

    def test_options_are_the_programs(self):
        for container in self.each_server():
            program = pathlib.Path(container.command[0]).name
            self.assertLessEqual(set(m.settings(container)), set(m.options(BUILD, program)))
            for probe in container.probes.values():
                for word in probe.get("exec", {}).get("command", [])[1:]:
                    name = word.removeprefix("--").partition("=")[0]
                    self.assertIn(name, m.options(BUILD, "thinkwire-chat"))

    def test_pods_may_do_nothing_beyond_serving(self):
        for container in self.each_container():
            pod, security = container.pod["securityContext"], container.spec["securityContext"]
            self.assertTrue(pod["runAsNonRoot"])
            self.assertEqual(pod["runAsUser"], 65532)
            self.assertEqual(pod["seccompProfile"], {"type": "RuntimeDefault"})
            self.assertEqual(security, {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
                                        "capabilities": {"drop": ["ALL"]}})
            self.assertIs(container.pod["automountServiceAccountToken"], False)
            self.assertFalse({"hostNetwork", "hostPID", "hostIPC"} & container.pod.keys())
            for _, volume in container.mounts:
                self.assertNotIn("hostPath", volume)
            self.assertLessEqual({"cpu", "memory"}, container.spec["resources"]["requests"].keys())

    def test_no_variable_of_a_service_can_set_an_option(self):
        for container in self.each_container():
            self.assertIs(container.pod["enableServiceLinks"], False)

    def test_probes_ask_what_is_there(self):
        for container in self.each_server():
            ports = {p["containerPort"] for p in container.spec["ports"]}
            self.assertEqual(len(container.probes), 3)
            for probe in container.probes.values():
                # Kubernetes' own speak no TLS, and without TLS need no program.
                self.assertEqual("exec" in probe, "tls_cert" in m.settings(container))
                self.assertNotEqual("exec" in probe, "grpc" in probe)
                if "grpc" in probe:
                    port, name = probe["grpc"]["port"], probe["grpc"]["service"]
                else:
                    port, name = re.match(r"--probe=localhost:(\d+)/(\w+)$", probe["exec"]["command"][1]).groups()
                self.assertIn(int(port), ports)
                self.assertIn(name, HEALTH_NAMES)

    def test_ports_are_those_that_are_listened_on(self):
        for container in self.each_server():
            ports = {p["name"]: p["containerPort"] for p in container.spec["ports"]}
            options = {"grpc": "listen", "metrics": "metrics_listen", "http": "http_listen"}
            self.assertEqual({f"0.0.0.0:{port}": options[name] for name, port in ports.items()},
                             {value: key for key, value in m.settings(container).items() if key in options.values()})

    def test_the_door_is_served_by_each_of_its_names(self):
        for objects in self.each():
            (router,) = [c for c in m.servers(objects) if c.owner["kind"] == "Deployment"]
            (service,) = [s for s in m.of_kind(objects, "Service") if m.name_of(s) == "thinkwire-router"]
            self.assertLessEqual({("http", 8080), ("grpc", 50051)},
                                 {(p["targetPort"], p["port"]) for p in service["spec"]["ports"]})
            words = [m.name_of(service), service["metadata"]["namespace"], "svc", "cluster.local"]
            self.assertEqual(m.settings(router)["http_hosts"], ",".join(".".join(words[:n]) for n in (1, 2, 3, 4)))

    def test_what_is_mounted_is_there(self):
        for objects in self.each():
            there = {(o["kind"], m.name_of(o)) for o in objects} | {("Secret", s) for s in SECRETS}
            for container in m.containers(objects):
                for mount, volume in container.mounts:
                    self.assertNotIn("subPath", mount)  # it would never change
                    for kind, key, name in (("ConfigMap", "configMap", "name"), ("Secret", "secret", "secretName"),
                                            ("PersistentVolumeClaim", "persistentVolumeClaim", "claimName")):
                        if key in volume:
                            self.assertIn((kind, volume[key][name]), there)
                for value in m.settings(container).values() if container in m.servers(objects) else ():
                    self.assertTrue(not value.startswith("/etc/thinkwire/") or self.mounted(container, value), value)

    @staticmethod
    def mounted(container, path):
        return any(path.startswith(mount["mountPath"] + "/") for mount, _ in container.mounts)

    def test_the_router_finds_every_variants_workers(self):
        for objects in self.each():
            (router,) = m.of_kind(objects, "Deployment")
            volume = {v["name"]: v for v in router["spec"]["template"]["spec"]["volumes"]}["config"]
            (config,) = [o for o in m.of_kind(objects, "ConfigMap") if m.name_of(o) == volume["configMap"]["name"]]
            variants = yaml.safe_load(config["data"]["router.yaml"])["variants"]
            workers = {}
            for container in m.servers(objects):
                if container.owner["kind"] == "StatefulSet":
                    workers[container.owner["spec"]["serviceName"]] = container
            self.assertEqual({f"{n}:50061" for n in workers}, {w for v in variants for w in v["workers"]})
            for variant in variants:
                container = workers[variant["workers"][0].partition(":")[0]]
                # A worker's name is its model's folder's.
                self.assertEqual(pathlib.Path(m.settings(container)["model"]).name, variant["name"])

    def test_selectors_select_their_own(self):
        for objects in self.each():
            pods = {m.name_of(o): m.labels_of(o["spec"]["template"]) for o in m.of_kind(objects, "Deployment", "StatefulSet")}
            for thing in m.of_kind(objects, "Deployment", "StatefulSet", "PodDisruptionBudget"):
                self.assertEqual([n for n, labels in pods.items() if m.selects(thing["spec"]["selector"], labels)],
                                 [m.name_of(thing)])
            for service in m.of_kind(objects, "Service"):
                chosen = [n for n, labels in pods.items() if service["spec"]["selector"].items() <= labels.items()]
                self.assertEqual(chosen, [m.name_of(service)])
            for worker in m.of_kind(objects, "StatefulSet"):
                (service,) = [s for s in m.of_kind(objects, "Service") if m.name_of(s) == worker["spec"]["serviceName"]]
                self.assertEqual(service["spec"]["clusterIP"], "None")
                self.assertTrue(service["spec"]["publishNotReadyAddresses"])

    def test_what_is_scaled_and_scraped_is_there(self):
        for objects in self.each():
            there = {(o["kind"], m.name_of(o)) for o in objects}
            scalers = m.of_kind(objects, "HorizontalPodAutoscaler", "ScaledObject")
            targets = [s["spec"]["scaleTargetRef"] for s in scalers]
            for target in targets:
                self.assertIn((target["kind"], target["name"]), there)
                (scaled,) = [o for o in objects if (o["kind"], m.name_of(o)) == (target["kind"], target["name"])]
                self.assertNotIn("replicas", scaled["spec"])  # or applying again would undo the scaling
            self.assertEqual(len(targets), len({t["name"] for t in targets}))
            for monitor in m.of_kind(objects, "ServiceMonitor"):
                (service,) = [s for s in m.of_kind(objects, "Service") if m.selects(monitor["spec"]["selector"], m.labels_of(s))]
                ports = {p["name"] for p in service["spec"]["ports"]}
                self.assertLessEqual({e["port"] for e in monitor["spec"]["endpoints"]}, ports)
                self.assertEqual(m.labels_of(service)[monitor["spec"]["jobLabel"]], "thinkwire-router")
            for monitor in m.of_kind(objects, "PodMonitor"):
                scraped = [c for c in m.servers(objects) if m.selects(monitor["spec"]["selector"], m.labels_of(c.owner["spec"]["template"]))]
                self.assertEqual({c.owner["kind"] for c in scraped}, {"StatefulSet"})
                for container in scraped:
                    ports = {p["name"] for p in container.spec["ports"]}
                    self.assertLessEqual({e["port"] for e in monitor["spec"]["podMetricsEndpoints"]}, ports)

    def test_images_are_named_in_one_place(self):
        component = yaml.safe_load((m.FOLDER / "components/images/kustomization.yaml").read_text())
        images = {f"{i['newName']}:{i['newTag']}" for i in component["images"]}
        used = {c.spec["image"] for o in m.OVERLAYS for c in m.containers(m.render(o))}
        self.assertLessEqual(used, images)
        for file in m.FOLDER.rglob("*.yaml"):
            for named in re.findall(r"^\s*image: (\S+)", file.read_text(), re.M):
                self.assertNotIn(":", named, file)

    def test_the_readme_names_what_is_there(self):
        text = (m.REPOSITORY / "README.md").read_text(encoding="utf-8")
        (page,) = re.findall(r"^### Kubernetes\n(.*?)^##", text, re.M | re.S)
        named = re.findall(r"(?:deploy/kubernetes/)?((?:base|components|overlays)/[a-z/_.-]+)", page)
        self.assertGreater(len(named), 8)
        for path in named:
            self.assertTrue((m.FOLDER / path).exists(), path)
        (targets,) = re.findall(r"^for target in (.*); do$", page, re.M)
        used = {c.image for c in m.containers(m.render("cpu-demo"))}
        self.assertEqual({f"thinkwire-{target}" for target in targets.split()}, used)
        for image in used:
            self.assertTrue(m.entrypoint(m.STAGES[image]))
        # Of a volume that is filled by hand: a mark with other words would be taken away by the Job.
        (pull,) = [c for c in m.containers(m.render("one-gpu")) if c.owner["kind"] == "Job"]
        self.assertIn("`{PULL_MODEL}@{PULL_REVISION}`".format_map(pull.environment), page)

    def test_a_rank_has_a_gpu_and_shared_memory(self):
        for container in self.each_server():
            gpus = container.spec["resources"].get("limits", {}).get("nvidia.com/gpu", 0)
            if m.settings(container).get("device") != "cuda":
                self.assertEqual(gpus, 0)
                continue
            self.assertEqual(gpus, int(m.settings(container).get("tensor_parallel_size", "1")))
            self.assertIn({"medium": "Memory", "sizeLimit": "1Gi"},
                          [v.get("emptyDir") for mount, v in container.mounts if mount["mountPath"] == "/dev/shm"])

    def test_queries_are_promql(self):
        objects = m.render("two-variants with keda")
        queries = [t["metadata"]["query"] for o in m.of_kind(objects, "ScaledObject") for t in o["spec"]["triggers"]]
        adapter = re.search(r"metricsQuery: '(.*)'", (m.FOLDER / "overlays/two-variants/autoscaling.yaml").read_text())
        queries.append(adapter.group(1).replace("<<.Series>>", "thinkwire_router_queue_seconds_bucket")
                       .replace("<<.LabelMatchers>>", 'variant="a"'))
        self.assertEqual(len(queries), 3)
        with tempfile.NamedTemporaryFile("w", suffix=".yml") as rules:
            named = [{"record": f"q{i}", "expr": q} for i, q in enumerate(queries)]
            yaml.safe_dump({"groups": [{"name": "queries", "rules": named}]}, rules)
            rules.flush()
            said = subprocess.run(["promtool", "check", "rules", rules.name], check=False, text=True,
                                  capture_output=True)
        self.assertEqual(said.returncode, 0, said.stdout + said.stderr)


class WhoReachesWhom(unittest.TestCase):
    """The NetworkPolicies as the API's documentation says a cluster takes them: what a policy selects is let through
    where some policy lets it, at both ends; what none selects, always."""

    ROUTER = ("thinkwire", {"app.kubernetes.io/name": "thinkwire-router"})
    WORKER = ("thinkwire", {"app.kubernetes.io/name": "thinkwire-worker", "thinkwire/variant": "qwen-7b"})
    PULL = ("thinkwire", {"app.kubernetes.io/name": "thinkwire-pull"})
    PROMETHEUS = ("monitoring", {"app.kubernetes.io/name": "prometheus"})
    CLIENT = ("shop", {"app": "shop"})
    NEIGHBOUR = ("thinkwire", {"app": "something-else"})
    IMPOSTOR = ("shop", {"app.kubernetes.io/name": "thinkwire-router"})
    DNS = ("kube-system", {"k8s-app": "kube-dns"})

    @staticmethod
    def peer_is(peer, pod):
        namespace, labels = pod
        selector = peer.get("namespaceSelector", {"matchLabels": {"kubernetes.io/metadata.name": "thinkwire"}})
        return (m.selects(selector, {"kubernetes.io/metadata.name": namespace})
                and m.selects(peer.get("podSelector", {}), labels))

    def lets(self, rule, peers, other, port, protocol):
        if "ports" in rule and (port, protocol) not in [(p["port"], p.get("protocol", "TCP")) for p in rule["ports"]]:
            return False
        return peers not in rule or any(self.peer_is(peer, other) for peer in rule[peers])

    def end_lets(self, policies, direction, pod, other, port, protocol):
        mine = [p["spec"] for p in policies if direction in p["spec"]["policyTypes"]
                and pod[0] == "thinkwire" and m.selects(p["spec"]["podSelector"], pod[1])]
        key, peers = direction.lower(), {"Ingress": "from", "Egress": "to"}[direction]
        return not mine or any(self.lets(r, peers, other, port, protocol) for p in mine for r in p.get(key, []))

    def reaches(self, policies, source, target, port, protocol="TCP"):
        return (self.end_lets(policies, "Egress", source, target, port, protocol)
                and self.end_lets(policies, "Ingress", target, source, port, protocol))

    def test_who_reaches_whom(self):
        everybody = [self.ROUTER, self.WORKER, self.PULL, self.PROMETHEUS, self.CLIENT, self.NEIGHBOUR, self.IMPOSTOR]
        allowed = {
            (50051, "router"): [p for p in everybody if p is not self.WORKER and p is not self.ROUTER],
            (8080, "router"): [p for p in everybody if p is not self.WORKER and p is not self.ROUTER],
            (9401, "router"): [self.PROMETHEUS],
            (50061, "worker"): [self.ROUTER],
            (9402, "worker"): [self.PROMETHEUS],
            (22, "router"): [], (22, "worker"): [], (22, "pull"): [],
        }
        targets = {"router": self.ROUTER, "worker": self.WORKER, "pull": self.PULL}
        for overlay in m.OVERLAYS:
            policies = m.of_kind(m.render(overlay), "NetworkPolicy")
            for (port, name), sources in allowed.items():
                if name == "pull" and overlay == "cpu-demo":
                    continue  # which pulls nothing
                found = [p for p in everybody if self.reaches(policies, p, targets[name], port)]
                self.assertEqual(found, sources, f"{overlay}: {name}:{port}")
            for protocol in ("UDP", "TCP"):
                self.assertTrue(self.reaches(policies, self.ROUTER, self.DNS, 53, protocol))
            self.assertFalse(self.reaches(policies, self.WORKER, self.DNS, 53))
            self.assertFalse(self.reaches(policies, self.ROUTER, self.CLIENT, 443))


if __name__ == "__main__":
    m.kustomize()
    unittest.main()
