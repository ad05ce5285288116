#!/usr/bin/python3
"""Asks grpc.health.v1 in plain text, as Kubernetes' gRPC probes do. Ends with 0 if what is named serves.

Usage: health_probe.py ADDRESS NAME
A process of its own, as gRPC's threads and forks do not go together: a fork waits for the threads, at times for ever.
"""

import sys

import grpc


def main():
    address, name = sys.argv[1:]
    with grpc.insecure_channel(address) as channel:
        # Request and answer have one field each: the name, and 1 for SERVING.
        check = channel.unary_unary("/grpc.health.v1.Health/Check", lambda n: b"\x0a" + bytes([len(n)]) + n.encode(),
                                    lambda answer: answer == b"\x08\x01")
        try:
            return 0 if check(name, timeout=5) else 1
        except grpc.RpcError:
            return 1


if __name__ == "__main__":
    sys.exit(main())
