#!/usr/bin/python3
"""The HTTP door of a router, held against its gRPC service.

Usage: http_door_test.py BUILD_FOLDER REQUESTS [CONCURRENT]
Asks a router REQUESTS random questions with the same seed by gRPC and by HTTP: by OpenAI's API as a
stream and as a whole, by its Responses API and by Ollama's, where these can say the same. Reasoning, answer, the reason
of the end, usage and, where they are asked for, the tokens, their bytes and their log-probabilities
must be the same, and the bytes of all tokens joined the text.
"""

import concurrent.futures
import contextlib
import http.client
import json
import pathlib
import random
import sys
import tempfile
import time

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
SKIPPED = 77
PATIENCE_S = 120
QUESTIONS = ("What is {} + {}?", "What is {} + {}?", "{} 加 {} 等于多少？", "Écrivez {}, 𝒳 {} 🙂?")
PARTS = (160, 121, 98)  # the bundled model's tokens of E4, BD and A5: of characters, or of none
BUSY = (429, 503)  # a machine that is busy with other tests keeps its worker silent

sys.path.insert(0, str(REPOSITORY / "tests/contract"))
sys.path.insert(0, str(REPOSITORY / "tests/integration"))
from grpc_client import GrpcClient  # noqa: E402


def random_question(seed):
    """One question, in the door's own fields."""
    rng = random.Random(seed)
    body = {"model": rng.choice(["tiny-r1", "auto"]), "seed": rng.randrange(1 << 40),
            "messages": [{"role": "user", "content": rng.choice(QUESTIONS).format(
                rng.randrange(100), rng.randrange(100))}]}
    if rng.random() < 0.5:
        body["temperature"] = rng.choice([0.0, 0.5, 1.0, 2.0])
    if rng.random() < 0.5:
        body["max_tokens"] = rng.randrange(1, 150)
    else:
        body["max_tokens"] = 600
    if rng.random() < 0.3:
        body["thinking_token_budget"] = rng.randrange(0, 60)
    elif rng.random() < 0.2:
        body["reasoning_effort"] = "none"
    if rng.random() < 0.3:
        body["stop"] = rng.choice(["=", "1", "+ "])
    if rng.random() < 0.6:
        body["logprobs"], body["top_logprobs"] = True, rng.randrange(0, 3)
        if rng.random() < 0.3:
            body["temperature"], body["max_tokens"] = 1.0, rng.randrange(20, 60)
            body["logit_bias"] = {str(token): rng.randrange(12, 18) for token in PARTS}
    return body


def name_of(token_id, token):
    try:
        return token.decode() if token else f"token_id:{token_id}"
    except UnicodeDecodeError:
        return "".join(f"\\x{byte:02x}" for byte in token)


def told_number(logprob):
    """As the door writes it, whose digits are six."""
    return float(f"{max(logprob, -9999):.6g}")


def token_of(token_id, logprob):
    """Its name, its bytes in the text, and how probable it and the alternatives were."""
    return (name_of(token_id, logprob.token), logprob.token[logprob.silent_bytes:],
            told_number(logprob.logprob),
            [(name_of(one.token_id, one.token), one.token, told_number(one.logprob))
             for one in logprob.alternatives])


def told_token(token):
    """The same of the door's."""
    return (token["token"], bytes(token["bytes"] or []), token["logprob"],
            [(one["token"], bytes(one["bytes"] or []), one["logprob"])
             for one in token["top_logprobs"]])


def check_text(choice, body):
    """The bytes of the content's tokens are the content, up to where a stop string ended it."""
    if "logprobs" not in body or choice["logprobs"] is None:
        return
    for phase, stop in (("reasoning_content", None), ("content", body.get("stop"))):
        told = choice["logprobs"].get(phase, [])
        text = b"".join(told_token(token)[1] for token in told).decode(errors="replace")
        if stop:
            head, tag, tail = text.rpartition("</think>\n\n")
            text = head + tag + tail.partition(stop)[0]
        assert text == choice["message"].get(phase, ""), (text, choice["message"])


class Grpc(GrpcClient):
    """Asks what the door is asked."""

    def request(self, body):
        request = self.messages.GenerateRequest(seed=body["seed"], max_tokens=body["max_tokens"])
        request.prompt.chat.messages.add(role=self.messages.ROLE_USER).content = (
            body["messages"][0]["content"])
        if "temperature" in body:
            request.sampling.temperature = body["temperature"]
        if "thinking_token_budget" in body:
            request.thinking.budget_tokens = body["thinking_token_budget"]
        if "reasoning_effort" in body:
            request.thinking.mode = self.messages.THINKING_MODE_OFF
        if "stop" in body:
            request.answer_sampling.stop_strings.append(body["stop"])
        for token, bias in body.get("logit_bias", {}).items():
            request.sampling.logit_bias[int(token)] = bias
        if "logprobs" in body:
            request.sampling.logprobs = request.sampling.token_bytes = True
            request.sampling.top_logprobs = body["top_logprobs"]
        return request

    def ask(self, body):
        told = {"reasoning": "", "content": "", "tokens": [], "answer_tokens": []}
        for event in self.call(self.request(body), timeout=PATIENCE_S):
            told["reasoning"] += event.reasoning_delta.text
            told["content"] += event.answer_delta.text
            told["answer_tokens"] += [token_of(id, logprob) for id, logprob in zip(
                event.answer_delta.token_ids, event.answer_delta.logprobs)]
            for delta in (event.reasoning_delta, event.answer_delta):
                told["tokens"] += [token_of(id, logprob) for id, logprob
                                   in zip(delta.token_ids, delta.logprobs)]
            if event.HasField("finished"):
                cut = event.finished.reason in (self.messages.FINISH_REASON_LENGTH,
                                                self.messages.FINISH_REASON_LOOP)
                told["finish"] = "length" if cut else "stop"
            if event.HasField("completed"):
                usage = event.completed.usage
                told["usage"] = (usage.prompt_tokens, usage.reasoning_tokens, usage.answer_tokens)
        return told


def usage_of(usage):
    reasoning = usage["completion_tokens_details"]["reasoning_tokens"]
    return usage["prompt_tokens"], reasoning, usage["completion_tokens"] - reasoning


def tokens_of(choice):
    both = choice["logprobs"] or {}
    return [told_token(token)
            for phase in ("reasoning_content", "content") for token in both.get(phase, [])]


def post(port, body, path="/v1/chat/completions"):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    with contextlib.closing(connection):
        connection.request("POST", path, json.dumps(body),
                           {"Content-Type": "application/json"})
        response = connection.getresponse()
        text = response.read().decode()
        if response.status != 200:
            raise ConnectionError(response.status, text)
        return text


def ask_whole(port, body):
    reply = json.loads(post(port, body))
    choice = reply["choices"][0]
    check_text(choice, body)
    message = choice["message"]
    assert message.get("reasoning") == message.get("reasoning_content"), message
    return {"reasoning": message.get("reasoning", ""), "content": message["content"],
            "tokens": tokens_of(choice), "finish": choice["finish_reason"],
            "usage": usage_of(reply["usage"])}


def check_inline(port, body):
    """With the reasoning among the content."""
    reply = json.loads(post(port, {**body, "reasoning_format": "raw"}))
    check_text(reply["choices"][0], body)


def ask_stream(port, body):
    told = {"reasoning": "", "content": "", "tokens": []}
    text = post(port, {**body, "stream": True, "stream_options": {"include_usage": True}})
    events = [event for event in text.split("\n\n") if event and not event.startswith(":")]
    assert events[-1] == "data: [DONE]", events[-1]
    for event in events[:-1]:
        chunk = json.loads(event.removeprefix("data: "))
        for choice in chunk["choices"]:
            told["reasoning"] += choice["delta"].get("reasoning_content", "")
            told["content"] += choice["delta"].get("content", "")
            told["tokens"] += tokens_of(choice)
            told["finish"] = choice["finish_reason"]
        if not chunk["choices"]:
            told["usage"] = usage_of(chunk["usage"])
    return told


def ask_ollama(port, body):
    """As a stream. Its usage has no phases: those of `told` are put together for it."""
    asked = {"model": body["model"], "messages": body["messages"],
             "think": "reasoning_effort" not in body,
             "options": {"num_predict": body["max_tokens"],
                         **{name: body[name] for name in ("seed", "temperature", "stop")
                            if name in body}},
             **{name: body[name] for name in ("logprobs", "top_logprobs") if name in body}}
    told = {"reasoning": "", "content": "", "tokens": []}
    for line in post(port, asked, "/api/chat").splitlines():
        piece = json.loads(line)
        told["reasoning"] += piece["message"].get("thinking", "")
        told["content"] += piece["message"]["content"]
        told["tokens"] += [told_token(token) for token in piece.get("logprobs", [])]
    assert piece["done"], piece
    told["finish"] = piece["done_reason"]
    told["usage"] = (piece["prompt_eval_count"], piece["eval_count"])
    return told


def ask_responses(port, body):
    """As a stream, whose last event has all of it once more. Only the answer's tokens are told."""
    asked = {"model": body["model"], "input": body["messages"], "stream": True,
             "max_output_tokens": body["max_tokens"],
             **{name: body[name] for name in ("seed", "temperature", "stop",
                                              "thinking_token_budget", "top_logprobs")
                if name in body}}
    if "reasoning_effort" in body:
        asked["reasoning"] = {"effort": body["reasoning_effort"]}
    if "logprobs" in body:
        asked["include"] = ["message.output_text.logprobs"]
    told = {"reasoning": "", "content": "", "tokens": []}
    for event in post(port, asked, "/v1/responses").split("\n\n"):
        if event and not event.startswith(":"):
            last = json.loads(event.partition("data: ")[2])
        if event.startswith("event: response.reasoning_text.delta"):
            told["reasoning"] += last["delta"]
        if event.startswith("event: response.output_text.delta"):
            told["content"] += last["delta"]
            told["tokens"] += [told_token(token) for token in last["logprobs"]]
    response = last["response"]
    texts = {item["type"]: item["content"][0] for item in response["output"]}
    message = texts.get("message", {"text": "", "logprobs": []})
    assert texts.get("reasoning", {"text": ""})["text"] == told["reasoning"], response
    assert message["text"] == told["content"], response
    assert [told_token(token) for token in message["logprobs"]] == told["tokens"], response
    told["finish"] = {"completed": "stop", "incomplete": "length"}[response["status"]]
    usage = response["usage"]
    reasoning = usage["output_tokens_details"]["reasoning_tokens"]
    told["usage"] = usage["input_tokens"], reasoning, usage["output_tokens"] - reasoning
    return told


def without_phases(told):
    prompt, reasoning, answer = told["usage"]
    return {**told, "usage": (prompt, reasoning + answer)}


def patiently(ask, errors, *arguments):
    give_up = time.monotonic() + PATIENCE_S
    while True:
        try:
            return ask(*arguments)
        except errors as error:
            busy = error.args and error.args[0] in BUSY if isinstance(error, OSError) else (
                error.code().name in ("UNAVAILABLE", "RESOURCE_EXHAUSTED"))
            if not busy or time.monotonic() > give_up:
                raise
            print(f"asked again: {error}")
            time.sleep(0.5)


def compare(grpc_client, port, seed):
    body = random_question(seed)
    expected = patiently(grpc_client.ask, grpc_client.error, body)
    if "logprobs" in body:
        patiently(check_inline, ConnectionError, port, body)
    answer_tokens = expected.pop("answer_tokens")
    asks = [(ask_whole, expected), (ask_stream, expected)]
    if "logit_bias" not in body:
        asks.append((ask_responses, {**expected, "tokens": answer_tokens}))
    if "thinking_token_budget" not in body and "logit_bias" not in body:
        asks.append((ask_ollama, without_phases(expected)))
    for ask, wanted in asks:
        told = patiently(ask, ConnectionError, port, body)
        if told != wanted:
            print(f"{json.dumps(body)}\n  gRPC: {wanted}\n  {ask.__name__}: {told}")
            return False
    return True


def main():
    try:
        import grpc  # noqa: F401
    except ModuleNotFoundError:
        print("skipped: without grpc (deploy/setup.sh --tests)")
        return SKIPPED
    from accuracy import started_both

    build = pathlib.Path(sys.argv[1]).resolve()
    count = int(sys.argv[2])
    with contextlib.ExitStack() as stack:
        work = stack.enter_context(tempfile.TemporaryDirectory())
        record = stack.enter_context(started_both(build, "--http_listen=127.0.0.1:0"))
        client = Grpc(work, f"localhost:{record['port']}")
        pool = stack.enter_context(concurrent.futures.ThreadPoolExecutor(
            int(sys.argv[3]) if len(sys.argv) > 3 else 8))
        equal = list(pool.map(lambda seed: compare(client, record["http_port"], seed),
                              range(count)))
    print(f"{sum(equal)} of {count} questions have the same answer by gRPC and by HTTP")
    return 0 if all(equal) else 1


if __name__ == "__main__":
    sys.exit(main())
