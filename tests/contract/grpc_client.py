"""A client of a router by gRPC, for the tests in Python."""

import pathlib
import subprocess
import sys

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]


class GrpcClient:
    """With the contract's messages as protoc makes them in `folder`, which goes onto the path."""

    def __init__(self, folder, address):
        subprocess.run(["protoc", "-I", REPOSITORY / "protos", f"--python_out={folder}",
                        "thinkwire/v1/reasoning.proto"], check=True)
        sys.path.insert(0, str(folder))
        import grpc
        from thinkwire.v1 import reasoning_pb2

        self.error = grpc.RpcError
        self.messages = reasoning_pb2
        self.channel = grpc.insecure_channel(address)
        self.call = self.channel.unary_stream(
            "/thinkwire.v1.ReasoningService/Generate",
            reasoning_pb2.GenerateRequest.SerializeToString,
            reasoning_pb2.GenerateResponse.FromString)
