#!/usr/bin/python3
"""Answers of the bundled model in JSON Schemas, held against python3-jsonschema.

Usage: formats_test.py BUILD_FOLDER REQUESTS [CONCURRENT]
Asks a router REQUESTS questions at temperature 1, by turns in each of the accepted schemas of
tests/data/schemas. Every answer that ended with END must be valid, and 95 % of them must end so;
those schemas that are to be refused are, with the JSON pointer in the error. The model, which knows
sums and no JSON, hardly ever closes a string; a logit bias of the quote makes up for that.
"""

import concurrent.futures
import contextlib
import json
import pathlib
import random
import sys
import tempfile
import time

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
SCHEMAS = REPOSITORY / "tests/data/schemas"
SKIPPED = 77
MIN_ENDED = 0.95
MAX_TOKENS = 1500
QUOTE_BIAS = 14
PATIENCE_S = 120

sys.path.insert(0, str(REPOSITORY / "tests/contract"))
sys.path.insert(0, str(REPOSITORY / "tests/integration"))
sys.path.insert(0, str(REPOSITORY / "tests/worker/grammar"))
from grpc_client import GrpcClient  # noqa: E402


def lines_of(name):
    return [json.loads(line) for line in (SCHEMAS / name).read_text(encoding="utf-8").splitlines()]


class Client(GrpcClient):
    """Of a router, which knows the id of the quote."""

    def __init__(self, folder, address):
        super().__init__(folder, address)
        count = self.channel.unary_unary(
            "/thinkwire.v1.ReasoningService/CountTokens",
            self.messages.CountTokensRequest.SerializeToString,
            self.messages.CountTokensResponse.FromString)
        asked = self.messages.CountTokensRequest(variant="tiny-r1", return_token_ids=True)
        asked.prompt.text = '"'
        self.quote = count(asked, timeout=60).token_ids[-1]

    def ask(self, schema, seed):
        """The answer's text, why it ended, and how many of its tokens were forced and drawn."""
        request = self.messages.GenerateRequest(variant="tiny-r1", seed=seed, max_tokens=MAX_TOKENS,
                                                clamp_max_tokens=True)
        request.sampling.temperature = 1
        request.sampling.top_p = 1
        request.answer_sampling.logit_bias[self.quote] = QUOTE_BIAS
        request.thinking.budget_tokens = 100
        request.answer_format.json_schema = json.dumps(schema)
        rng = random.Random(seed)
        request.prompt.chat.messages.add(role=self.messages.ROLE_USER).content = (
            f"What is {rng.randrange(100)} + {rng.randrange(100)}?")
        give_up = time.monotonic() + PATIENCE_S
        while True:
            try:
                return self.read(request)
            except self.error as error:  # a router doubts a worker that a busy machine keeps silent
                if error.code().name != "UNAVAILABLE" or time.monotonic() > give_up:
                    raise
                print(f"asked again: {error.details()}")
                time.sleep(0.5)

    def read(self, request):
        text, reason = "", None
        for event in self.call(request, timeout=300):
            text += event.answer_delta.text
            if event.HasField("finished"):
                reason = self.messages.FinishReason.Name(event.finished.reason)
            if event.HasField("completed"):
                usage = event.completed.usage
        return text, reason, usage.forced_tokens, usage.answer_tokens


def check_answers(client, schemas, count, concurrent_calls, validators):
    jobs = [(i % len(schemas), i) for i in range(count)]
    with concurrent.futures.ThreadPoolExecutor(concurrent_calls) as pool:
        answers = list(pool.map(lambda job: client.ask(schemas[job[0]], job[1]), jobs))
    wrong, ended, forced, tokens = 0, 0, 0, 0
    for (schema, seed), (text, reason, num_forced, num_tokens) in zip(jobs, answers, strict=True):
        forced, tokens = forced + num_forced, tokens + num_tokens
        if reason != "FINISH_REASON_END":
            continue
        ended += 1
        try:
            validators[schema].validate(json.loads(text))
        except Exception as error:  # of json or jsonschema
            wrong += 1
            print(f"schema {schema}, seed {seed}: {text!r}: {error}")
    print(f"{ended} of {count} answers of {len(schemas)} schemas ended, {wrong} are wrong; "
          f"{tokens} tokens, {forced} were forced")
    return wrong == 0 and ended >= MIN_ENDED * count


def check_refusals(client, cases):
    taken = 0
    for case in cases:
        try:
            client.ask(case["schema"], 1)
            problem = "it is taken"
        except client.error as error:
            if error.code().name == "INVALID_ARGUMENT" and case["says"] in error.details():
                continue
            problem = str(error)
        taken += 1
        print(f"{json.dumps(case)}: {problem}")
    print(f"{len(cases)} schemas refused, but for {taken}")
    return taken == 0


def main():
    try:
        import grpc  # noqa: F401
        import jsonschema
    except ModuleNotFoundError as missing:
        print(f"skipped: without {missing.name} (deploy/setup.sh --tests)")
        return SKIPPED
    from accuracy import serving_both
    from check_walks import checker

    build = pathlib.Path(sys.argv[1]).resolve()
    concurrent_calls = int(sys.argv[3]) if len(sys.argv) > 3 else 16
    schemas = lines_of("accepted.jsonl")
    checks = checker()
    validators = [jsonschema.Draft202012Validator(schema, format_checker=checks)
                  for schema in schemas]
    with contextlib.ExitStack() as stack:
        work = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        port = stack.enter_context(serving_both(build))
        client = Client(work, f"localhost:{port}")
        answers = check_answers(client, schemas, int(sys.argv[2]), concurrent_calls, validators)
        refusals = check_refusals(client, lines_of("refused.jsonl"))
    return 0 if answers and refusals else 1


if __name__ == "__main__":
    sys.exit(main())
