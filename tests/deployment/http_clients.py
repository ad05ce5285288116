#!/usr/bin/env python3
"""Clients that no one here wrote, from PyPI, against the HTTP door.

Usage: tests/deployment/http_clients.py BUILD_FOLDER [VENV]
Makes a virtual environment (in VENV, which is kept, or a temporary folder) with the clients below,
starts the bundled model behind a router, and has each client ask it. Prints a table; the exit code
is 1 if one failed. For hands: PyPI needs minutes.
"""

import asyncio
import importlib.metadata
import json
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
CLIENTS = {"openai": "3.57.0", "litellm": "1.110.2", "langchain-openai": "1.7.4",
           "ollama": "0.6.3"}
QUESTION = [{"role": "user", "content": "What is 27 + 15?"}]
CHINESE = [*QUESTION, {"role": "assistant", "content": "27 + 15 = 42"},
           {"role": "user", "content": "请问 12 + 30 是多少？"}]
ANSWER = "27 + 15 = 42"
THOUGHT = "carry"


def check(holds, what):
    if not holds:
        raise AssertionError(what)


def ask_responses(client):
    ask = {"model": "auto", "input": QUESTION, "temperature": 0}
    whole = client.responses.create(**ask)
    check(whole.output_text == ANSWER and THOUGHT in whole.output[0].content[0].text, whole)
    check(whole.usage.output_tokens_details.reasoning_tokens > 0, whole.usage)
    with client.responses.stream(**ask, reasoning={"summary": "auto"}) as stream:
        final = stream.get_final_response()
    check(final.output_text == ANSWER and THOUGHT in final.output[0].summary[0].text, final)
    turns = [*QUESTION, *(item.model_dump() for item in whole.output), CHINESE[-1]]
    again = client.responses.create(**{**ask, "input": turns}, instructions="Be brief.")
    check("42" in again.output_text, again)
    schema = {"type": "object", "properties": {"sum": {"type": "integer"}}, "required": ["sum"]}
    made = client.responses.create(**ask, text={"format": {"type": "json_schema", "name": "sum",
                                                           "schema": schema}})
    check(isinstance(json.loads(made.output_text)["sum"], int), made)


def ask_twice(client, ask):
    """Two answers, as a whole and as a stream: the same, each with its index and one end."""
    both = {**ask, "n": 2, "temperature": 0.6, "seed": 3}
    whole = [choice.message.content for choice in client.chat.completions.create(**both).choices]
    with client.chat.completions.stream(**both, stream_options={"include_usage": True}) as stream:
        final = stream.get_final_completion()
    check([choice.message.content for choice in final.choices] == whole, (final, whole))
    check([choice.index for choice in final.choices] == [0, 1], final)
    raw = {"model": "tiny-r1", "prompt": "27 + 15 =", "max_tokens": 4, "n": 2, "seed": 3}
    texts = [choice.text for choice in client.completions.create(**raw).choices]
    pieces, ends, usages = ["", ""], [], []
    for chunk in client.completions.create(**raw, stream=True, stream_options={"include_usage": True}):
        for choice in chunk.choices:
            pieces[choice.index] += choice.text
            ends += [choice.index] if choice.finish_reason else []
        usages += [chunk.usage] if chunk.usage else []
    check(pieces == texts and sorted(ends) == [0, 1] and len(usages) == 1, (pieces, texts, ends, usages))


def ask_openai(door):
    from openai import AsyncOpenAI, BadRequestError, NotFoundError, OpenAI

    client = OpenAI(base_url=f"{door}/v1", api_key="none")
    ask = {"model": "auto", "messages": QUESTION, "temperature": 0}
    whole = client.chat.completions.create(**ask)
    message = whole.choices[0].message
    check(message.content == ANSWER and THOUGHT in message.reasoning_content, message)
    check(whole.usage.completion_tokens_details.reasoning_tokens > 0, whole.usage)
    with client.chat.completions.stream(**ask, stream_options={"include_usage": True}) as stream:
        final = stream.get_final_completion()
    check(final.choices[0].message.content == ANSWER and final.usage.total_tokens > 0, final)
    again = client.chat.completions.create(**{**ask, "messages": CHINESE})
    check(again.choices[0].message.content, again)
    raw = client.completions.create(model="tiny-r1", prompt="27 + 15 =", max_tokens=4)
    check(raw.choices[0].text, raw)
    check("tiny-r1" in [model.id for model in client.models.list()], "the list of models")
    ask_responses(client)
    ask_twice(client, ask)
    try:
        client.chat.completions.create(model="none", messages=QUESTION)
        check(False, "an unknown model was served")
    except NotFoundError as error:
        check(error.code == "model_not_found", error)
    try:
        client.chat.completions.create(**ask, max_tokens=1_000_000)
        check(False, "more tokens than there are were promised")
    except BadRequestError as error:
        check(error.code == "context_length_exceeded", error)

    async def stream():
        texts = ["", ""]
        asynchronous = AsyncOpenAI(base_url=f"{door}/v1", api_key="none")
        async for chunk in await asynchronous.chat.completions.create(**ask, stream=True):
            for choice in chunk.choices:
                texts[0] += getattr(choice.delta, "reasoning_content", None) or ""
                texts[1] += choice.delta.content or ""
        return texts

    thought, content = asyncio.run(stream())
    check(content == ANSWER and THOUGHT in thought, content)
    return ("whole, stream helper, async stream, completions, responses (whole, stream helper, "
            "schema, turns), two answers, models, errors, usage, Chinese")


def ask_litellm(door):
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it asks GitHub as it is imported
    import litellm

    ask = {"model": "openai/auto", "api_base": f"{door}/v1", "api_key": "none", "temperature": 0,
           "messages": QUESTION}
    message = litellm.completion(**ask).choices[0].message
    check(message.content == ANSWER and THOUGHT in message.reasoning_content, message)
    texts = ["", ""]
    for chunk in litellm.completion(**ask, stream=True):
        delta = chunk.choices[0].delta
        texts[0] += getattr(delta, "reasoning_content", None) or ""
        texts[1] += delta.content or ""
    check(texts[1] == ANSWER and THOUGHT in texts[0], texts)
    try:
        litellm.completion(**{**ask, "model": "openai/none"})
        check(False, "an unknown model was served")
    except litellm.NotFoundError:
        pass
    try:
        litellm.completion(**ask, max_tokens=1_000_000)
        check(False, "more tokens than there are were promised")
    except litellm.ContextWindowExceededError:
        pass
    ollama = litellm.completion(**{**ask, "model": "ollama_chat/tiny-r1", "api_base": door})
    check(ollama.choices[0].message.content == ANSWER, ollama)
    return "whole and stream with reasoning_content, errors; ollama_chat/"


def ask_langchain(door):
    from langchain_openai import ChatOpenAI

    model = ChatOpenAI(model="auto", base_url=f"{door}/v1", api_key="none", temperature=0)
    whole = model.invoke("What is 27 + 15?")
    check(whole.content == ANSWER, whole)
    check(whole.usage_metadata["output_token_details"]["reasoning"] > 0, whole.usage_metadata)
    check("".join(chunk.content for chunk in model.stream("What is 27 + 15?")) == ANSWER, "stream")
    schema = {"title": "Sum", "type": "object", "properties": {"sum": {"type": "integer"}},
              "required": ["sum"], "additionalProperties": False}
    made = model.with_structured_output(schema, method="json_schema").invoke("What is 27 + 15?")
    check(isinstance(made["sum"], int), made)
    return "invoke, stream, reasoning tokens, structured output (it reads no reasoning)"


def ask_ollama(door):
    import ollama

    client = ollama.Client(host=door)
    greedy = {"temperature": 0}
    whole = client.chat("auto", QUESTION, think=True, options=greedy)
    check(whole.message.content == ANSWER and THOUGHT in whole.message.thinking, whole)
    check(whole.done_reason == "stop" and whole.eval_count > 0 and whole.total_duration > 0, whole)
    parts = list(client.chat("tiny-r1", QUESTION, stream=True, options=greedy))
    check("".join(part.message.content for part in parts) == ANSWER, parts)
    check(THOUGHT in "".join(part.message.thinking or "" for part in parts), parts)
    check(client.generate("tiny-r1:latest", "What is 27 + 15?", options=greedy).response == ANSWER,
          "generate")
    schema = {"type": "object", "properties": {"sum": {"type": "integer"}}, "required": ["sum"]}
    made = client.chat("tiny-r1", QUESTION, format=schema, options=greedy).message.content
    check(isinstance(json.loads(made)["sum"], int), made)
    check("tiny-r1:latest" in [model.model for model in client.list().models], "the list")
    check(client.ps().models and "thinking" in client.show("tiny-r1").capabilities, "ps, show")
    try:
        client.chat("none", QUESTION)
        check(False, "an unknown model was served")
    except ollama.ResponseError as error:
        check(error.status_code == 404, error)

    async def stream():
        answer = ""
        asynchronous = ollama.AsyncClient(host=door)
        async for part in await asynchronous.chat("tiny-r1", QUESTION, stream=True, think=False,
                                                  options=greedy):
            check(not part.message.thinking, part)
            answer += part.message.content
        return answer

    check("42" in asyncio.run(stream()), "async")
    return "chat, generate, think, format, list, ps, show, errors; sync, async, stream"


ASKS = {"openai": ask_openai, "litellm": ask_litellm, "langchain-openai": ask_langchain,
        "ollama": ask_ollama}


def run_one(name, door):
    """In the virtual environment."""
    print(f"| `{name}` | {importlib.metadata.version(name)} | {ASKS[name](door)} |")


def curl(door):
    body = json.dumps({"model": "auto", "stream": True, "messages": QUESTION, "temperature": 0})
    text = subprocess.run(
        ["curl", "-sN", f"{door}/v1/chat/completions", "-H", "Content-Type: application/json",
         "-d", body], capture_output=True, text=True, check=True).stdout
    check(text.endswith("data: [DONE]\n\n"), text)
    version = subprocess.run(["curl", "--version"], capture_output=True, text=True,
                             check=True).stdout.split()[1]
    print(f"| `curl -N` | {version} | a stream to its `[DONE]` |", flush=True)


def main():
    if sys.argv[1] == "--client":
        return run_one(*sys.argv[2:])
    sys.path.insert(0, str(ROOT / "tests/integration"))
    from accuracy import started_both

    with tempfile.TemporaryDirectory() as temporary:
        venv = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else temporary)
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        subprocess.run([venv / "bin/pip", "install", "--quiet",
                        *(f"{name}=={version}" for name, version in CLIENTS.items())], check=True)
        build = pathlib.Path(sys.argv[1]).resolve()
        with started_both(build, "--http_listen=127.0.0.1:0") as record:
            door = f"http://127.0.0.1:{record['http_port']}"
            print("| client | version | what was seen |\n|---|---|---|", flush=True)
            curl(door)
            failed = [name for name in CLIENTS if subprocess.run(
                [venv / "bin/python", __file__, "--client", name, door], check=False).returncode]
    for name in failed:
        print(f"| `{name}` | {CLIENTS[name]} | failed |")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
