#!/usr/bin/env python3
"""Fails where a file includes what its room may not (the map of rooms in README.md), or chooses a
device by the preprocessor, which a folder's files do instead.

Usage: .ci/check_includes.py [ROOT]; prints file:line and the rule for each breach.
"""
import pathlib
import re
import sys

# Room -> the other rooms, or single headers, that it may include.
ROOMS = {
    "common": [],
    "protos": [],
    "common/rpc": ["common", "protos"],
    "router": ["router/admission", "router/consensus", "router/decision", "router/fleet", "common",
               "common/rpc"],
    "router/admission": ["router/fleet/turns.h", "common", "common/rpc/shares.h"],
    "router/consensus": ["common"],
    "router/decision": ["router/task.h", "router/variant_config.h", "router/variant_traits.h",
                        "common"],
    "router/fleet": ["router/decision", "router/variant_config.h", "common", "common/rpc"],
    "router/http": ["router", "router/decision", "router/fleet", "protos", "common", "common/rpc"],
    "router/client": ["router/ledger.h", "router/task.h", "protos", "common", "common/rpc"],
    "worker/step": [],
    "worker/kernels": ["worker/step"],
    "worker/kernels/cpu": ["worker/kernels", "worker/step"],
    "worker/kernels/cuda": ["worker/kernels", "worker/kernels/cuda/attention",
                            "worker/kernels/cuda/device", "worker/kernels/cuda/experts",
                            "worker/kernels/cuda/latent", "worker/kernels/cuda/linear",
                            "worker/kernels/cuda/norm", "worker/kernels/cuda/sampling",
                            "worker/kernels/cuda/stream", "worker/step"],
    "worker/kernels/cuda/device": ["worker/kernels"],
    "worker/kernels/cuda/norm": ["worker/kernels", "worker/kernels/cuda/device"],
    "worker/kernels/cuda/stream": ["worker/kernels", "worker/kernels/cuda/device",
                                   "worker/kernels/cuda/norm"],
    "worker/kernels/cuda/attention": ["worker/kernels", "worker/kernels/cuda/device"],
    "worker/kernels/cuda/linear": ["worker/kernels", "worker/kernels/cuda/attention/kv_block.cuh",
                                   "worker/kernels/cuda/device", "worker/kernels/cuda/norm",
                                   "worker/kernels/cuda/stream", "worker/kernels/cuda/tiles"],
    "worker/kernels/cuda/tiles": ["worker/kernels", "worker/kernels/cuda/device"],
    "worker/kernels/cuda/latent": ["worker/kernels",
                                   "worker/kernels/cuda/attention/attention_steps.cuh",
                                   "worker/kernels/cuda/attention/attention_tile.cuh",
                                   "worker/kernels/cuda/device", "worker/kernels/cuda/norm",
                                   "worker/kernels/cuda/linear/weight_upload.h",
                                   "worker/kernels/cuda/tiles"],
    "worker/kernels/cuda/experts": ["worker/kernels", "worker/kernels/cuda/device",
                                    "worker/kernels/cuda/linear", "worker/kernels/cuda/tiles"],
    "worker/kernels/cuda/peer": ["worker/kernels", "worker/kernels/cuda/device",
                                 "worker/kernels/cuda/norm"],
    "worker/kernels/cuda/sampling": ["worker/kernels", "worker/kernels/cuda/device",
                                     "worker/step"],
    "worker/parallel": ["worker/kernels", "common"],
    "worker/engine": ["common", "worker/step"],
    "worker/text": ["common"],
    "worker/grammar": ["worker/text", "worker/engine/token_mask.h", "common", "worker/step"],
    "worker/hub": ["common"],
    "worker/model": ["worker/model/checkpoint", "worker/model/layers", "worker/model/step",
                     "worker/kernels", "worker/parallel", "common", "worker/step"],
    "worker/model/checkpoint": ["worker/kernels", "common"],
    "worker/model/step": ["worker/kernels", "common", "worker/step"],
    "worker/model/layers": ["worker/model/checkpoint", "worker/model/step", "worker/kernels",
                            "worker/parallel", "common", "worker/step"],
    "worker/serve": ["protos", "worker/engine", "worker/text", "worker/grammar", "common",
                     "common/rpc", "worker/step"],
    "worker": ["common"],
}
# What single files (header and source) may include beyond their room's.
EXTRA = {
    "router/account": ["protos"],
    "router/answer_wishes": ["protos"],
    "router/answering": ["protos"],
    "router/escalation": ["protos"],
    "router/generation": ["protos"],
    "router/generation_admission": ["protos"],
    "router/held_events": ["protos"],
    "router/intake": ["protos"],
    "router/voting": ["protos"],
    "router/waiting_events": ["protos"],
    "router/counting": ["protos"],
    "router/dry_run": ["protos"],
    "router/ledger": ["protos"],
    "router/prompt_hash": ["protos"],
    "router/query": ["protos"],
    "router/service": ["protos"],
    "router/fleet/worker_client": ["protos"],
    "router/fleet/worker_status": ["protos"],
    "router/fleet/worker_stub": ["protos"],
    "router/fleet/discovery": ["router/worker_address.h"],
    "router/fleet/worker_pool_names": ["router/worker_address.h"],
    "worker/kernels/devices_cuda": ["worker/kernels/cuda", "worker/kernels/cuda/device"],
    "worker/kernels/open_cpu_devices": ["worker/kernels/cpu"],
    "worker/parallel/nccl_communicator": ["worker/kernels/cuda/device",
                                          "worker/kernels/cuda/peer"],
    "router/main": ["router/http"],
    "worker/download_door": ["worker/hub", "common/rpc", "protos"],
    "worker/follow": ["worker/model", "worker/model/checkpoint", "worker/parallel", "worker/text",
                      "common/rpc"],
    "worker/list_command": ["worker/hub", "worker/kernels", "worker/model"],
    "worker/main": ["worker/model"],
    "worker/model_options": ["worker/kernels", "worker/model", "worker/parallel"],
    "worker/model_source": ["worker/hub"],
    "worker/pull_command": ["worker/hub"],
    "worker/quantize_command": ["worker/model/checkpoint", "worker/text"],
    "worker/process": [room for room in ROOMS if not room.startswith("router")],
}
OURS = ("common/", "protos/", "router/", "worker/", "tests/")
STANDARD_ONLY = tuple(r for r in ROOMS if r.startswith(("worker/kernels", "worker/step")))
CUDA_PLACES = ("worker/kernels/cuda/", "worker/parallel/nccl_communicator.cc")
CUDA = re.compile(r"^(cuda|cublas|nccl|cutlass|cute/|cooperative_groups|mma\.h)")
NO_RPC = STANDARD_ONLY + ("router/decision", "worker/engine", "worker/text", "worker/grammar",
                          "worker/hub", "worker/parallel", "worker/model",
                          "worker/model/checkpoint", "worker/model/layers", "worker/model/step")
RPC = re.compile(r"^(grpc|google/protobuf)")
# Single files that know no gRPC, though their room does, so that another protocol can use them.
NO_GRPC = ("router/counting", "router/escalation", "router/generation",
           "router/generation_registry", "router/ledger", "router/query")
GRPC = re.compile(r"^grpc|\.grpc\.pb\.h$")
# Libraries that few places know: what their headers are called, their name, the place or places.
LIBRARIES = (
    (re.compile(r"^curl/"), "libcurl", "worker/hub/"),
    (re.compile(r"^(httplib\.h|civetweb|CivetServer|microhttpd|nghttp2/|boost/)"),
     "an HTTP library", "router/http/"),
    (re.compile(r"^yaml-cpp/"), "yaml-cpp", ("router/config.cc", "worker/config_file.cc")),
    (re.compile(r"^unicode/"), "ICU", "worker/text/"),
    (re.compile(r"^pcre2\.h"), "PCRE2",
     ("worker/text/", "worker/model/checkpoint/name_pattern.cc")),
)
# A condition of the preprocessor about our options or the device.
DEVICE_CONDITION = re.compile(r"^\s*#\s*(el)?if.*(THINKWIRE_|CUDA)")
DEVICE_CONDITION_PLACES = ("worker/kernels/cuda/", "worker/kernels/host_device.h")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
SOURCES = {".h", ".cc", ".cu", ".cuh"}


def room_of(path):
    rooms = [room for room in ROOMS if path.startswith(room + "/")]
    return max(rooms, key=len, default=None)


def breach(path, room, quoted, header):
    """Why `path` may not include `header`, or None."""
    if CUDA.match(header) and not path.startswith(CUDA_PLACES):
        return "CUDA headers belong in worker/kernels/cuda and nccl_communicator.cc"
    for pattern, library, place in LIBRARIES:
        if pattern.match(header) and not path.startswith(place):
            return f"only {place} knows {library}"
    if room in NO_RPC and RPC.match(header):
        return f"{room} knows neither gRPC nor protobuf"
    stem = path.rsplit(".", 1)[0]
    if stem in NO_GRPC and GRPC.search(header):
        return f"{stem} knows no gRPC"
    if header.startswith(("google/rpc/", "grpc/health/")) or header.startswith("thinkwire/"):
        header = "protos/" + header
    if not header.startswith(OURS):
        foreign = quoted or ("/" in header and not path.startswith(CUDA_PLACES))
        if room in STANDARD_ONLY and foreign:
            return f"{room} includes only the standard library and ours"
        return None
    if room_of(header) == room:
        return None
    allowed = ROOMS[room] + EXTRA.get(stem, [])
    if header in allowed or room_of(header) in allowed:
        return None
    return f"{room} may include only {', '.join(allowed) or 'nothing of ours'}"


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
    breaches = 0
    for top in ("common", "router", "worker"):
        for file in sorted((root / top).rglob("*")):
            if file.suffix not in SOURCES:
                continue
            path = file.relative_to(root).as_posix()
            room = room_of(path)
            for number, line in enumerate(file.read_text().splitlines(), 1):
                if DEVICE_CONDITION.match(line) and not path.startswith(DEVICE_CONDITION_PLACES):
                    breaches += 1
                    print(f"{path}:{number}: chooses by the preprocessor; CMake chooses files")
                match = INCLUDE.match(line)
                if not match:
                    continue
                why = breach(path, room, match.group(1) == '"', match.group(2))
                if why:
                    breaches += 1
                    print(f"{path}:{number}: includes {match.group(2)}: {why}")
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main())
