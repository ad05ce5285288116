"""A headless Chromium, driven by its DevTools protocol over a pipe: nothing but the standard library.

Debian's package is called chromium; deploy/setup.sh does not install it.
"""

import base64
import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time

PATIENCE_S = 60


class Page:
    """One tab. `errors` holds what the page or its policy complained of."""

    def __init__(self, to_browser, from_browser):
        self.to_browser = to_browser
        self.from_browser = from_browser
        self.last_id = 0
        self.session = None
        self.errors = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target,
                                 flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def read(self):
        data = b""
        while not data.endswith(b"\0"):
            byte = self.from_browser.read(1)
            if not byte:
                raise ConnectionError("the browser is gone")
            data += byte
        return json.loads(data[:-1])

    def note(self, message):
        if message.get("method") == "Runtime.exceptionThrown":
            self.errors.append(message["params"]["exceptionDetails"]["text"])
        if message.get("method") == "Log.entryAdded":
            entry = message["params"]["entry"]
            if entry["level"] == "error":
                self.errors.append(entry["text"])

    def call(self, method, **params):
        self.last_id += 1
        message = {"id": self.last_id, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        self.to_browser.write(json.dumps(message).encode() + b"\0")
        self.to_browser.flush()
        while True:
            answer = self.read()
            if answer.get("id") == self.last_id:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self.note(answer)

    def open(self, url):
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete'")

    def value(self, expression):
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True,
                           awaitPromise=True)
        if "exceptionDetails" in result:
            raise RuntimeError(f"{expression}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def wait(self, expression):
        """Until it is true."""
        give_up = time.monotonic() + PATIENCE_S
        while not self.value(expression):
            if time.monotonic() > give_up:
                raise TimeoutError(f"{expression}; errors: {self.errors}")
            time.sleep(0.05)

    def type(self, text):
        """Into what has the focus, as a person types."""
        self.call("Input.insertText", text=text)

    def press_enter(self):
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter",
                      windowsVirtualKeyCode=13)

    def shoot(self, path):
        data = self.call("Page.captureScreenshot", format="png")["data"]
        path.write_bytes(base64.b64decode(data))


@contextlib.contextmanager
def browser(width=900, height=700):
    """Yields a Page; None if the machine has no Chromium."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        yield None
        return
    commands, to_browser = os.pipe()
    from_browser, answers = os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:

        def become_3_and_4():
            # Neither may be in the other's way.
            high = [os.dup(fd) for fd in (commands, answers)]
            os.dup2(high[0], 3)
            os.dup2(high[1], 4)

        process = subprocess.Popen(
            [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
             "--remote-debugging-pipe", f"--user-data-dir={profile}", "--no-first-run",
             f"--window-size={width},{height}", "--disable-dev-shm-usage"],
            preexec_fn=become_3_and_4, close_fds=False, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        os.close(commands)
        os.close(answers)
        try:
            yield Page(os.fdopen(to_browser, "wb"), os.fdopen(from_browser, "rb", buffering=0))
        finally:
            process.terminate()
            process.wait()
