"""Brings one model of Hugging Face's hub into a folder, unless it is there, and marks the folder as whole.

Environment: PULL_MODEL, PULL_REVISION, PULL_FOLDER; of huggingface_hub, which does it: HF_TOKEN, HF_ENDPOINT,
HF_HOME. What an earlier run has brought is not brought again.
"""
import os
import pathlib

import huggingface_hub

# What a worker reads.
PATTERNS = ["*.json", "*.safetensors", "*.jinja"]


def main():
    model, revision = os.environ["PULL_MODEL"], os.environ["PULL_REVISION"]
    folder = pathlib.Path(os.environ["PULL_FOLDER"])
    mark = folder / ".complete"  # workers wait for it
    wanted = f"{model}@{revision}\n"
    if mark.exists() and mark.read_text() == wanted:
        print(f"{folder} has {model} already")
        return
    mark.unlink(missing_ok=True)
    huggingface_hub.snapshot_download(repo_id=model, revision=revision, local_dir=folder,
                                      allow_patterns=PATTERNS)
    unfinished = mark.with_name(".complete.unfinished")
    unfinished.write_text(wanted)
    unfinished.rename(mark)
    print(f"{folder} has {model}")


main()
