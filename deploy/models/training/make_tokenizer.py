"""Writes the byte-level BPE tokenizer of the bundled model, in the layout of the Qwen2.5 distills.

Usage: make_tokenizer.py MODEL_DIR (needs the package `tokenizers`)
"""

import json
import pathlib
import random
import sys

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers import processors, trainers

import dialogue

SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
    r"\s+(?!\S)|\s+"
)
# In id order, as in the distills; True marks a special token.
ADDED_TOKENS = (
    (dialogue.EOS, True), (dialogue.USER, False), (dialogue.ASSISTANT, False), (dialogue.BOS, True),
    ("<|EOT|>", False), (dialogue.THINK, False), (dialogue.END_THINK, False), ("<|quad_start|>", True),
    ("<|quad_end|>", True), ("<|vision_start|>", True), ("<|vision_end|>", True), ("<|vision_pad|>", True),
    ("<|image_pad|>", True), ("<|video_pad|>", True), ("<tool_call>", False), ("</tool_call>", False),
    ("<|fim_prefix|>", False), ("<|fim_middle|>", False), ("<|fim_suffix|>", False), ("<|fim_pad|>", False),
    ("<|repo_name|>", False), ("<|file_sep|>", False),
)
VOCAB_ROWS = 640  # of the embedding: a multiple of 64, the last few unused
PADDING_ROWS = 6
NUM_TEXTS = 60000
CHAT_TEMPLATE = (
    "{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}"
    "{% set ns = namespace(system_prompt='') %}"
    "{%- for message in messages %}{%- if message['role'] == 'system' %}"
    "{% set ns.system_prompt = message['content'] %}{%- endif %}{%- endfor %}"
    "{{bos_token}}{{ns.system_prompt}}"
    "{%- for message in messages %}"
    "{%- if message['role'] == 'user' %}{{'<｜User｜>' + message['content']}}{%- endif %}"
    "{%- if message['role'] == 'assistant' %}{% set content = message['content'] %}"
    "{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}"
    "{{'<｜Assistant｜>' + content + '<｜end▁of▁sentence｜>'}}{%- endif %}"
    "{%- endfor -%}"
    "{% if add_generation_prompt %}{{'<｜Assistant｜><think>\\n'}}{% endif %}"
)


def _texts():
    rng = random.Random(20260101)
    control = [token for token, _ in ADDED_TOKENS]
    for _ in range(NUM_TEXTS):
        text = "".join(dialogue.draw(rng))
        for token in control:
            text = text.replace(token, "\x00")
        yield from (piece for piece in text.split("\x00") if piece)


def build():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False),
    ])
    tokenizer.decoder = decoders.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_ROWS - PADDING_ROWS - len(ADDED_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(), trainer)
    for token, special in ADDED_TOKENS:
        added = AddedToken(token, normalized=False, special=special)
        (tokenizer.add_special_tokens if special else tokenizer.add_tokens)([added])
    bos = tokenizer.token_to_id(dialogue.BOS)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{dialogue.BOS} $A", pair=f"{dialogue.BOS} $A {dialogue.BOS}:1 $B:1",
        special_tokens=[(dialogue.BOS, bos)],
    )
    return tokenizer


def main():
    folder = pathlib.Path(sys.argv[1])
    build().save(str(folder / "tokenizer.json"))
    config = {
        "add_bos_token": True, "add_eos_token": False, "bos_token": dialogue.BOS,
        "chat_template": CHAT_TEMPLATE, "clean_up_tokenization_spaces": False,
        "eos_token": dialogue.EOS, "model_max_length": 4096, "pad_token": dialogue.EOS,
        "tokenizer_class": "PreTrainedTokenizerFast", "unk_token": None,
    }
    text = json.dumps(config, ensure_ascii=False, indent=2)
    (folder / "tokenizer_config.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
