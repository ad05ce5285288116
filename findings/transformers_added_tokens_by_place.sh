#!/usr/bin/env bash
# transformers: a token of `added_tokens_decoder` gets the id of its place, not the one recorded.
#
# The keys of `added_tokens_decoder` in tokenizer_config.json are ids. Where the tokens stand there
# alone, not in tokenizer.json too, AutoTokenizer sorts by the recorded id and then numbers them on
# from the end of the vocabulary, without a word about ids that differ:
#   256 entries in the vocabulary, {"256": "<a>", "300": "<b>"}  ->  <a> 256, <b> 257
#   {"300": "<a>", "299": "<b>"}                                 ->  <a> 257, <b> 256
# added_tokens.json, whose values are ids, is read the same way. And an `added_tokens_decoder` that
# is there but empty hides added_tokens.json: "<a>" is split into bytes then.
#
# So whoever trusts a checkpoint's recorded ids finds other rows of the embedding than the training
# script did, wherever there is a gap. Seen with transformers 5.24.0 and tokenizers 0.23.3. Needs
# python3 with venv and about 60 MB from PyPI. Exit code 0 as long as it is so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q transformers==5.24.0 tokenizers==0.23.3

"$folder/venv/bin/python" - "$folder" 2>/dev/null <<'PYTHON'
import json
import pathlib
import sys

from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer


def ids(name, decoder=None, added=None):
    """Ids of <a> and <b> in a tokenizer of all 256 bytes whose own files are these."""
    path = pathlib.Path(sys.argv[1], name)
    path.mkdir()
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: i for i, letter in enumerate(letters)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.save(str(path / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast"}
    if decoder is not None:
        config["added_tokens_decoder"] = {
            i: {"content": content, "special": True, "normalized": False, "lstrip": False,
                "rstrip": False, "single_word": False} for i, content in decoder.items()}
    (path / "tokenizer_config.json").write_text(json.dumps(config))
    if added is not None:
        (path / "added_tokens.json").write_text(json.dumps(added))
    loaded = AutoTokenizer.from_pretrained(path)
    return [loaded.convert_tokens_to_ids(content) for content in ("<a>", "<b>")]


seen = {
    "a gap": ids("gap", decoder={"256": "<a>", "300": "<b>"}),
    "the other order": ids("order", decoder={"300": "<a>", "299": "<b>"}),
    "added_tokens.json": ids("json", added={"<a>": 256, "<b>": 300}),
    "beside an empty decoder": ids("empty", decoder={}, added={"<a>": 256, "<b>": 257}),
}
for name, found in seen.items():
    print(f"{name}: {found}")
sys.exit(list(seen.values()) != [[256, 257], [257, 256], [256, 257], [None, None]])
PYTHON
