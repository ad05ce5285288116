#!/usr/bin/env python3
"""Chats by the door's page in a real browser (Debian's chromium).

Usage: tests/deployment/page_test.py BUILD_FOLDER [FOLDER_FOR_SCREENSHOTS]
A router with the bundled model, which does sums; where it shall think for ever, its requests forbid
it the tokens that end anything. Skipped (77) where there is no chromium.
"""

import json
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
SKIPPED = 77

sys.path.insert(0, str(ROOT / "tests/integration"))
sys.path.insert(0, str(ROOT / "tests/deployment"))
from accuracy import BUNDLED, started_both  # noqa: E402
from browser import browser  # noqa: E402

LAST = "[...document.querySelectorAll('article')].at(-1)"


def ask(page, question):
    page.value("document.getElementById('question').focus()")
    page.type(question)
    page.press_enter()


def choose(page, model):
    page.value(f"document.getElementById('model').value = '{model}'")


def text(page, selector):
    return page.value(f"{LAST}.querySelector('{selector}').textContent")


def wait_until_idle(page):
    page.wait("!document.getElementById('send').disabled")


def does_sums(page, shoot):
    choose(page, "tiny-r1")
    ask(page, "What is 27 + 15?")
    page.wait(f"{LAST}?.querySelector('.content').textContent.includes('42')")
    wait_until_idle(page)
    assert "carry" in text(page, ".thinking"), text(page, ".thinking")
    assert page.value(f"{LAST}.querySelector('details').open") is False
    assert "named by the request" in text(page, ".facts"), text(page, ".facts")
    assert "tokens" in text(page, ".facts"), text(page, ".facts")
    page.value(f"{LAST}.querySelector('summary').click()")
    shoot("first-turn")


def has_a_second_turn_in_chinese(page, shoot):
    choose(page, "auto")
    ask(page, "请问 12 + 30 是多少？")
    page.wait("document.querySelectorAll('article').length === 2")
    wait_until_idle(page)
    assert page.value("document.querySelectorAll('.question')[1].textContent").startswith("请问")
    assert page.value("told.length") >= 2, "the first turn goes along"
    shoot("second-turn")


def never_end(page):
    """From now on the page's questions forbid </think> and the end of the answer."""
    tokens = json.loads((BUNDLED / "tokenizer.json").read_text(encoding="utf-8"))["added_tokens"]
    bias = {token["id"]: -100 for token in tokens
            if token["content"] in ("</think>", "<｜end▁of▁sentence｜>")}
    assert len(bias) == 2, bias
    page.value("""{
        const real = window.fetch;
        window.fetch = (url, options) => {
          const body = options.body && JSON.parse(options.body);
          if (body?.messages) options.body = JSON.stringify({...body, logit_bias: %s});
          return real(url, options);
        };
    }""" % json.dumps(bias))


def stops(page, shoot):
    page.value("document.getElementById('fresh').click()")
    choose(page, "tiny-r1")
    ask(page, "What is 40 + 41?")
    page.wait(f"{LAST}?.querySelector('.thinking').textContent.length > 600")
    assert page.value(f"{LAST}.querySelector('details').open") is True
    shoot("thinking")
    page.value("document.getElementById('stop').click()")
    wait_until_idle(page)
    assert "stopped" in text(page, ".facts"), text(page, ".facts")


def answers_now(page, shoot):
    ask(page, "What is 50 + 51?")
    page.wait("document.querySelectorAll('article').length === 2")
    page.wait(f"{LAST}.querySelector('.thinking').textContent.length > 300")
    page.value("document.getElementById('now').click()")
    page.wait(f"{LAST}.querySelector('.content').textContent.length > 20")
    assert page.value(f"{LAST}.querySelector('details').open") is False
    assert page.value("document.getElementById('now').disabled") is True
    page.value("document.getElementById('stop').click()")
    wait_until_idle(page)
    shoot("answered-now")


def tells_of_errors(page, shoot):
    page.value("document.getElementById('model').append(new Option('none', 'none'))")
    choose(page, "none")
    ask(page, "Is anybody there?")
    page.wait("document.querySelector('.wrong')?.textContent.includes('none')")
    wait_until_idle(page)
    assert text(page, ".facts") == "", text(page, ".facts")
    shoot("error")


def tells_who_goes_before(page):
    """As the door says it to a request that waits."""
    page.value("""window.fetch = async () => {
        const text = ": queued 2\\n\\n";
        const body = new ReadableStream({start: (to) => to.enqueue(new TextEncoder().encode(text))});
        return new Response(body, {headers: {"x-request-id": "x"}});
    }""")
    ask(page, "Who is before me?")
    page.wait(f"{LAST}.querySelector('.facts').textContent === 'waiting, 2 before it …'")


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    folder = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else None

    def shoot(name):
        if folder:
            page.shoot(folder / f"{name}.png")

    with started_both(build, "--http_listen=127.0.0.1:0") as record, browser() as page:
        if page is None:
            print("skipped: there is no chromium")
            return SKIPPED
        page.open(f"http://127.0.0.1:{record['http_port']}/")
        page.wait("document.getElementById('model').options.length === 2")
        does_sums(page, shoot)
        has_a_second_turn_in_chinese(page, shoot)
        never_end(page)
        stops(page, shoot)
        answers_now(page, shoot)
        assert not page.errors, page.errors
        tells_of_errors(page, shoot)
        tells_who_goes_before(page)
    print("the page does what it shall")
    return 0


if __name__ == "__main__":
    sys.exit(main())
