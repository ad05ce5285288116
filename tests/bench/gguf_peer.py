#!/usr/bin/env python3
"""How fast a GGUF file decodes and takes a prompt beside llama.cpp, by turns in one run on the CPU.

Usage: gguf_peer.py BUILD_FOLDER FILE [ROUNDS [THREADS]], with xllamacpp from PyPI (tried with
2026.10.11549); three rounds of two threads where not said. Each round loads the file anew in either
program: 32 tokens after a prompt of 512, drawn at temperature 0.6 within top_p 0.95, and that
prompt, whole. random_gguf.py writes a file of a distill's shape. Prints each round and the medians
of the ratios, ours by llama.cpp's: on a machine that others use a round's two halves are as busy as
each other at best. llama.cpp reads no qwen2 whose heads together are not as wide as its rows.
"""
import json
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile

PROMPT = 512
DRAWN = 32


def peer(file, threads):
    """Tokens a second: decoded (without the first, as ours), of the prompt."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = file
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.n_ctx, params.n_parallel, params.n_gpu_layers = 1024, 1, 0
    params.n_batch = params.n_ubatch = PROMPT
    params.warmup, params.cache_prompt, params.fit_params = True, False, False
    params.verbosity, params.port = 1, 0  # errors; any free port
    server = xllamacpp.Server(params)
    reply = server.handle_completions({
        "prompt": [random.randrange(256) for _ in range(PROMPT)],  # ids that every vocabulary has
        "n_predict": DRAWN, "temperature": 0.6, "top_p": 0.95, "ignore_eos": True,
        "cache_prompt": False})
    timings = (reply if isinstance(reply, dict) else json.loads(reply))["timings"]
    if (timings["prompt_n"], timings["predicted_n"]) != (PROMPT, DRAWN):
        sys.exit(f"llama.cpp took other numbers of tokens: {timings}")
    return timings["predicted_per_second"], timings["prompt_per_second"]


def peer_apart(file, threads):
    """peer() in a process of its own, so that nothing of it runs beside ours."""
    done = subprocess.run([sys.executable, __file__, "--peer", file, str(threads)],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        sys.exit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def ours(build, file, threads):
    with tempfile.NamedTemporaryFile(suffix=".json") as out:
        subprocess.run([build / "tests/bench/thinkwire-bench", "engine", "--model", file,
                        "--device=cpu", f"--cpu_threads={threads}", "--batch=1",
                        f"--prompt={PROMPT}", f"--output={DRAWN}", "--context=",
                        f"--prefill={PROMPT}", "--repetitions=1", "--json", out.name],
                       check=True, stdout=subprocess.DEVNULL)
        figures = json.load(out)["figures"]
    rates = {figure["kind"]: figure["tokens_per_second"] for figure in figures}
    return rates["decode"], rates["prefill"]


def main(build, file, rounds=3, threads=2):
    ratios = []
    for _ in range(int(rounds)):
        theirs = peer_apart(file, threads)
        own = ours(pathlib.Path(build), file, threads)
        ratios.append([a / b for a, b in zip(own, theirs)])
        print(f"decode {own[0]:.1f} and {theirs[0]:.1f} tokens a second, prompt {own[1]:.1f} and "
              f"{theirs[1]:.1f}", flush=True)
    decode, prompt = (statistics.median(column) for column in zip(*ratios))
    print(f"ours by llama.cpp's, medians: decode {decode:.2f}, prompt {prompt:.2f}")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    if sys.argv[1] == "--peer":
        print(json.dumps(peer(sys.argv[2], int(sys.argv[3]))))
    else:
        main(*sys.argv[1:])
