#!/usr/bin/python3
"""How often the bundled model is right on held-out problems, against its thinking budget.

Usage: budget_curve.py BUILD_FOLDER [OUT.png]   (default: beside the dashboard)
Greedy, 500 problems at each budget, through router, worker and thinkwire-chat. Prints a table and
draws it. Needs Debian's python3-matplotlib.
"""

import concurrent.futures
import json
import pathlib
import subprocess
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "tests/integration"))
import accuracy  # noqa: E402

BUDGETS = [0, 1, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120, 140, 160, 180, 200]
PROBLEMS = 500
MIN_ANSWER = 64


def problems(command, text=None):
    return subprocess.run([sys.executable, accuracy.PROBLEMS, *command], input=text, text=True, encoding="utf-8",
                          capture_output=True, check=False).stdout


def right_share(transcripts):
    """Of the transcripts, the share whose answer is right."""
    rows = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in transcripts)
    wrong = sum(line.startswith("wrong answer") for line in problems(["check"], rows).splitlines())
    return 1 - wrong / len(transcripts)


def curve(chat, port, questions):
    with concurrent.futures.ThreadPoolExecutor(accuracy.CONCURRENT) as pool:
        for budget in BUDGETS:
            options = [f"--budget={budget}", f"--min_answer={MIN_ANSWER}"]
            transcripts = list(pool.map(
                lambda question: accuracy.ask(chat, f"localhost:{port}", question, *options), questions))
            yield budget, right_share(transcripts), sum(not row["answer"] for row in transcripts)


def draw(points, path):
    figure, axes = plt.subplots(figsize=(7, 4), dpi=100)
    axes.plot([budget for budget, *_ in points], [100 * share for _, share, _ in points], marker="o")
    axes.set(xlabel="thinking budget, tokens", ylabel="right answers, %", ylim=(0, 102),
             title=f"tiny-r1, {PROBLEMS} held-out problems, greedy")
    axes.grid(alpha=0.3)
    figure.savefig(path, bbox_inches="tight")


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    build = pathlib.Path(sys.argv[1])
    out = sys.argv[2] if len(sys.argv) > 2 else REPOSITORY / "deploy/grafana/dashboards/budget_curve.png"
    sample = problems(["sample", "--held-out", f"--count={PROBLEMS}"])
    questions = [json.loads(line)["question"] for line in sample.splitlines()]
    points = []
    print("budget  right  empty")
    with accuracy.serving_both(build) as port:
        for point in curve(build / "router/thinkwire-chat", port, questions):
            points.append(point)
            print(f"{point[0]:6}  {100 * point[1]:4.1f} %  {point[2]}", flush=True)
    draw(points, out)


if __name__ == "__main__":
    main()
