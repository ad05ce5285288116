"""A load of all kinds through thinkwire-chat: completed, cut, cancelled, refused, queued, of a form, voted on."""

import random
import signal
import subprocess
import threading
import time

# Arguments of thinkwire-chat, and how often each kind comes.
_KINDS = [
    (10, ["--json"]),
    (3, ["--json", "--max_tokens", "12"]),
    (3, ["--json", "--stop", "is"]),
    (2, ["--json", "--timeout_s", "1"]),
    (1, ["--json", "--max_tokens", "999999"]),
    (1, ["--json", "--temperature", "9"]),
    (1, ["--json", "--variant", "unknown"]),
    (2, ["--json", "--no-think"]),
    (2, ["--json", "--budget", "20"]),
    (2, ["--json", "--regex", "[0-9+=> -]{1,30}"]),
    (1, ["--json", "--choices", "yes,no,neither"]),
    (1, ["--json", "--consensus", "3"]),
    (4, ["--json", "--system", "You answer questions about numbers, briefly and exactly. " * 4]),
]


def _questions(random_source):
    while True:
        a, b = random_source.randrange(1, 10000), random_source.randrange(1, 10000)
        yield random_source.choice(
            [f"What is {a}+{b}?", f"What is {a}-{b}?", f"Which is more, {a} or {b}?"]
        )


class Load:
    """`clients` that ask one question after another, one in twelve cancelled, until stopped."""

    def __init__(self, chat, router, clients):
        self._chat, self._router = str(chat), router
        self._stop = threading.Event()
        self.exit_codes = {}
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._ask, args=(i,)) for i in range(clients)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *unused):
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, seed):
        source = random.Random(seed)
        questions = _questions(source)
        weights, kinds = zip(*_KINDS)
        while not self._stop.is_set():
            arguments = source.choices(kinds, weights)[0]
            process = subprocess.Popen(
                [self._chat, "--router", self._router, *arguments, next(questions)],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )
            if source.randrange(12) == 0:
                time.sleep(0.05)
                process.send_signal(signal.SIGINT)
            code = process.wait()
            with self._lock:
                self.exit_codes[code] = self.exit_codes.get(code, 0) + 1
