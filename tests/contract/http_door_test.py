#!/usr/bin/python3
"""The HTTP door of a router, held against its gRPC service.

Usage: http_door_test.py BUILD_FOLDER REQUESTS [CONCURRENT]
Asks a router REQUESTS random questions with the same seed by gRPC and by HTTP: by OpenAI's API as a
stream and as a whole, by its Responses API and by Ollama's, where these can say the same, and every
third one as a raw prompt too. Of each output reasoning, answer, the reason of the end and, where they
are asked for, the tokens, their bytes and their log-probabilities must be the same, and so must usage;
the bytes of all tokens joined must be the text.
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
    if rng.random() < 0.2:
        body["n"] = 2
    return body


def completion_of(body):
    """The same question as a raw prompt, with the same wishes, where a completion knows them."""
    asked = {name: body[name] for name in body.keys() - {"messages", "reasoning_effort", "top_logprobs"}}
    asked["prompt"] = f"<｜User｜>{body['messages'][0]['content']}<｜Assistant｜><think>\n"
    asked["model"] = "tiny-r1"
    if "logprobs" in body:
        asked["logprobs"] = body["top_logprobs"]
    return asked


def name_of(token_id, token, part=""):
    try:
        return token.decode() if token else f"token_id:{token_id}"
    except UnicodeDecodeError:
        return part + "".join(f"\\x{byte:02x}" for byte in token)


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
        if "n" in body:
            request.n = body["n"]
        if "prompt" in body:
            request.prompt.text = body["prompt"]
        else:
            request.prompt.chat.messages.add(role=self.messages.ROLE_USER).content = (
                body["messages"][0]["content"])
        if "temperature" in body:
            request.sampling.temperature = body["temperature"]
        if "thinking_token_budget" in body:
            request.thinking.budget_tokens = body["thinking_token_budget"]
        if "reasoning_effort" in body:
            request.thinking.mode = self.messages.THINKING_MODE_OFF
        if "stop" in body:
            phases = request.sampling if "prompt" in body else request.answer_sampling
            phases.stop_strings.append(body["stop"])
        for token, bias in body.get("logit_bias", {}).items():
            request.sampling.logit_bias[int(token)] = bias
        if "logprobs" in body:
            request.sampling.logprobs = request.sampling.token_bytes = True
            request.sampling.top_logprobs = body.get("top_logprobs", body["logprobs"])
        return request

    def ask(self, body):
        """The outputs, with their tokens as (id, logprob), and the usage."""
        outputs = [{"reasoning": "", "content": "", "closed": False, "reasoning_delta": [], "reasoning_finished": [],
                    "answer_delta": []} for _ in range(body.get("n", 1))]
        for event in self.call(self.request(body), timeout=PATIENCE_S):
            which = event.WhichOneof("event")
            told = getattr(event, which)
            output = outputs[getattr(told, "output_index", 0)]
            if which in output:
                output[which] += zip(told.token_ids, told.logprobs)
            if which == "reasoning_delta":
                output["reasoning"] += told.text
            if which == "reasoning_finished":
                output["closed"] = bool(told.token_ids)
            if which == "answer_delta":
                output["content"] += told.text
            if which == "finished":
                cut = told.reason in (self.messages.FINISH_REASON_LENGTH, self.messages.FINISH_REASON_LOOP)
                output["finish"] = "length" if cut else "stop"
            if which == "completed":
                usage = told.usage
        return outputs, (usage.prompt_tokens, usage.reasoning_tokens, usage.answer_tokens)


def chat_output(output, phases=("reasoning_delta", "answer_delta")):
    return {"reasoning": output["reasoning"], "content": output["content"], "finish": output["finish"],
            "tokens": [token_of(*token) for phase in phases for token in output[phase]]}


def response_output(output):
    return chat_output(output, phases=("answer_delta",))


def completion_output(output):
    """One text, with the tag that closes the reasoning, which is one of its tokens."""
    tag = "</think>\n\n"
    tokens, offset = [], 0
    for phase in ("reasoning_delta", "reasoning_finished", "answer_delta"):
        closes = phase == "reasoning_finished"
        for token_id, told in output[phase][:1] if closes else output[phase]:
            name = tag if closes else name_of(token_id, told.token, "bytes:")
            others = {name_of(one.token_id, one.token, "bytes:"): told_number(one.logprob) for one in told.alternatives}
            tokens.append((name, told_number(told.logprob), others, offset))
            text = tag.encode() if closes else told.token[told.silent_bytes:]
            offset += sum(byte & 0xC0 != 0x80 for byte in text)  # characters that begin in it
    return {"text": output["reasoning"] + tag * output["closed"] + output["content"], "tokens": tokens,
            "finish": output["finish"]}


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
    outputs = []
    for index, choice in enumerate(reply["choices"]):
        check_text(choice, body)
        message = choice["message"]
        assert choice["index"] == index, reply
        assert message.get("reasoning") == message.get("reasoning_content"), message
        outputs.append({"reasoning": message.get("reasoning", ""), "content": message["content"],
                        "tokens": tokens_of(choice), "finish": choice["finish_reason"]})
    return outputs, usage_of(reply["usage"])


def check_inline(port, body):
    """With the reasoning among the content."""
    reply = json.loads(post(port, {**body, "reasoning_format": "raw"}))
    for choice in reply["choices"]:
        check_text(choice, body)


def chunks_of(text):
    """Of a stream, whose last one has the usage, and no other."""
    events = [event for event in text.split("\n\n") if event and not event.startswith(":")]
    assert events[-1] == "data: [DONE]", events[-1]
    chunks = [json.loads(event.removeprefix("data: ")) for event in events[:-1]]
    assert [bool(chunk["usage"]) for chunk in chunks] == [False] * (len(chunks) - 1) + [True], text
    assert [len(chunk["choices"]) for chunk in chunks] == [1] * (len(chunks) - 1) + [0], text
    return chunks


def choices_of(chunks, outputs):
    """Each choice of the chunks with the output that it is of. The reason of an end comes once, and last."""
    for chunk in chunks[:-1]:
        choice = chunk["choices"][0]
        output = outputs[choice["index"]]
        assert "finish" not in output, chunk
        yield choice, output
        if choice["finish_reason"]:
            output["finish"] = choice["finish_reason"]


def ask_stream(port, body):
    chunks = chunks_of(post(port, {**body, "stream": True, "stream_options": {"include_usage": True}}))
    outputs = [{"reasoning": "", "content": "", "tokens": []} for _ in range(body.get("n", 1))]
    for choice, output in choices_of(chunks, outputs):
        output["reasoning"] += choice["delta"].get("reasoning_content", "")
        output["content"] += choice["delta"].get("content", "")
        output["tokens"] += tokens_of(choice)
    return outputs, usage_of(chunks[-1]["usage"])


def completion_tokens_of(choice):
    told = choice["logprobs"] or {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}
    return list(zip(told["tokens"], told["token_logprobs"], told["top_logprobs"], told["text_offset"]))


def ask_completion(port, body):
    reply = json.loads(post(port, body, "/v1/completions"))
    assert [choice["index"] for choice in reply["choices"]] == list(range(body.get("n", 1))), reply
    return [{"text": choice["text"], "tokens": completion_tokens_of(choice), "finish": choice["finish_reason"]}
            for choice in reply["choices"]], usage_of(reply["usage"])


def ask_completion_stream(port, body):
    asked = {**body, "stream": True, "stream_options": {"include_usage": True}}
    chunks = chunks_of(post(port, asked, "/v1/completions"))
    outputs = [{"text": "", "tokens": []} for _ in range(body.get("n", 1))]
    for choice, output in choices_of(chunks, outputs):
        output["text"] += choice["text"]
        output["tokens"] += completion_tokens_of(choice)
    return outputs, usage_of(chunks[-1]["usage"])


def ask_ollama(port, body):
    """As a stream. Its usage has no phases."""
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
    return [told], (piece["prompt_eval_count"], piece["eval_count"])


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
    return [told], (usage["input_tokens"], reasoning, usage["output_tokens"] - reasoning)


def without_phases(usage):
    prompt, reasoning, answer = usage
    return prompt, reasoning + answer


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


def same(port, body, asks):
    """Whether each of `asks` brings what is expected of it: (outputs, usage)."""
    for ask, wanted in asks:
        told = patiently(ask, ConnectionError, port, body)
        if told != wanted:
            print(f"{json.dumps(body)}\n  gRPC: {wanted}\n  {ask.__name__}: {told}")
            return False
    return True


def compare_chat(grpc_client, port, body):
    outputs, usage = patiently(grpc_client.ask, grpc_client.error, body)
    if "logprobs" in body:
        patiently(check_inline, ConnectionError, port, body)
    expected = [chat_output(output) for output in outputs], usage
    asks = [(ask_whole, expected), (ask_stream, expected)]
    if "logit_bias" not in body and "n" not in body:
        asks.append((ask_responses, ([response_output(output) for output in outputs], usage)))
    if "thinking_token_budget" not in body and "logit_bias" not in body and "n" not in body:
        asks.append((ask_ollama, (expected[0], without_phases(usage))))
    return same(port, body, asks)


def compare_completion(grpc_client, port, body):
    outputs, usage = patiently(grpc_client.ask, grpc_client.error, body)
    expected = [completion_output(output) for output in outputs], usage
    return same(port, body, [(ask_completion, expected), (ask_completion_stream, expected)])


def compare(grpc_client, port, seed):
    body = random_question(seed)
    return compare_chat(grpc_client, port, body) and (
        seed % 3 > 0 or compare_completion(grpc_client, port, completion_of(body)))


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
