#!/usr/bin/python3
"""What the bundled model loses in each form that `thinkwire-worker quantize` writes.

Usage: format_curve.py BUILD_FOLDER [COUNT [PATH...]], with grpcio for Python (python3-grpcio).
Asks COUNT (500) held-out problems of the model, of each form, and of those at PATH (folders or GGUF
files of the bundled model), through router and worker: greedily, and drawn at temperature 2, where
this model errs, with a seed for each problem, the same for every form, so that what differs is the
weights' doing. Prints a table: bytes of the weights' files, the weights' mean relative error where
quantize said it, right answers greedily and drawn, how many of the drawn texts are those of the
model itself, and by how much the log-probabilities of their tokens are off on the mean.
"""
import concurrent.futures
import pathlib
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
for folder in ("tests/integration", "tests/contract", "deploy/models/training"):
    sys.path.insert(0, str(ROOT / folder))

import accuracy  # noqa: E402, found by the lines above
import checker  # noqa: E402
import problems  # noqa: E402
from grpc_client import GrpcClient  # noqa: E402

STREAMS = 16
FORMS = {"AWQ, groups of 128": ("awq-gemm", 128), "AWQ, 64": ("awq-gemm", 64),
         "AWQ, 32": ("awq-gemm", 32), "Q4_K_M": ("gguf-q4_k_m", 0),
         "FP8, blocks of 128 x 128": ("fp8-block", 0), "Q8_0": ("gguf-q8_0", 0)}


def quantize(worker, form, group, out):
    """The mean relative error that it says."""
    said = subprocess.run([worker, "quantize", accuracy.BUNDLED, out, "--format", form,
                           f"--group_size={group}"], check=True, capture_output=True, text=True)
    return said.stdout.split()[-1]


def size(path):
    files = path.glob("*.safetensors") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files)


def ask(client, question, seed, temperature):
    """The reasoning, the answer, and the tokens' log-probabilities."""
    request = client.messages.GenerateRequest(variant="tiny-r1", seed=seed)
    request.prompt.chat.messages.add(role=client.messages.ROLE_USER).content = question
    request.sampling.temperature, request.sampling.top_p = temperature, 1
    request.sampling.logprobs = True
    reasoning = answer = ""
    logprobs = []
    for event in client.call(request, timeout=300):
        reasoning += event.reasoning_delta.text
        answer += event.answer_delta.text
        for delta in (event.reasoning_delta, event.answer_delta):
            logprobs += [token.logprob for token in delta.logprobs]
    return reasoning, answer, logprobs


def texts_of(client, asked, temperature):
    with concurrent.futures.ThreadPoolExecutor(STREAMS) as pool:
        return list(pool.map(lambda at: ask(client, asked[at][1], at, temperature),
                             range(len(asked))))


def right(asked, texts):
    return sum(checker.check(problem, *text[:2]).answer_right
               for (problem, _), text in zip(asked, texts))


def measure(build, path, asked, folder):
    """Right answers greedily, drawn, and the drawn texts."""
    with accuracy.serving_both(build, path) as port:
        client = GrpcClient(folder, f"localhost:{port}")
        greedy, drawn = (texts_of(client, asked, temperature) for temperature in (0, 2))
        client.channel.close()
    return right(asked, greedy), right(asked, drawn), drawn


def main(build, count=500, *others):
    build = pathlib.Path(build).resolve()
    asked = problems.sample(int(count), 1, True)
    print("| weights | bytes | error of weights | right, greedy | drawn | the same texts | off |\n"
          "|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        rows = [("BF16", accuracy.BUNDLED, "")]
        for name, (form, group) in FORMS.items():
            out = work / f"{form}-{group}{'.gguf' if form.startswith('gguf') else ''}"
            rows.append((name, out, quantize(build / "worker/thinkwire-worker", form, group, out)))
        rows += [(pathlib.Path(other).name, pathlib.Path(other), "") for other in others]
        own = None
        for name, path, error in rows:
            greedy, drawn, texts = measure(build, path, asked, work)
            own = own or texts
            same = [pair for pair in zip(texts, own) if pair[0][:2] == pair[1][:2]]
            off = [abs(a - b) for text, known in same for a, b in zip(text[2], known[2])]
            print(f"| {name} | {size(path)} | {error} | {greedy} | {drawn} | {len(same)} | "
                  f"{statistics.fmean(off):.4f} |", flush=True)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(*sys.argv[1:])
