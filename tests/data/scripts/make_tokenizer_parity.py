#!/usr/bin/env python3
"""Makes tests/data/tokenizers: small tokenizers and the ids that Hugging Face gives for hard texts.

  pip install tokenizers==0.23.3 jinja2
  make_tokenizer_parity.py

For each flavour of the family (qwen, llama, r1) a byte-level BPE of a few hundred merges, with that
flavour's normaliser, split patterns and added tokens, trained on the text below; then
  encode.jsonl   {"text", "ids", "user_ids", "decoded"}: encode(add_special_tokens=False), the same
                 without added tokens, and decode(ids, skip_special_tokens=True)
  chat.jsonl     {"messages", "mode", "ids"}: the chat template's text, rendered by jinja2, encoded
"""

import json
import pathlib
import random

import jinja2
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

OUT = pathlib.Path(__file__).resolve().parent.parent / "tokenizers"

BOS, EOS = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"

QWEN_SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
              r"|\s*[\r\n]+|\s+(?!\S)|\s+")
R1_SPLITS = [
    r"\p{N}{1,3}",
    "[一-龥\u3040-ゟ゠-ヿ]+",
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
    "| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+",
]

TRAINING = """
What is 12 + 34? Let me think about it step by step. I'll add the ones first, then the tens: 2 + 4 = 6, 1 + 3 = 4.
So the answer is 46. We'd say that's right, aren't we? They've done it; you're next, and I'm sure he'll do it.
def add(a, b):\n    return a + b\n\n\nfor i in range(10):\n    print(add(i, 1))  # 123456 7890\r\n\r\n
The quick brown fox jumps over the lazy dog. Café naïve Straße Ünïcödé.   Three   spaces.\t\tTabs.
你好，世界。十二加三十四等于多少？我们一步一步地想。答案是四十六。こんにちは世界 カタカナ ひらがな 안녕하세요 세계
Привет, мир! Γειά σου κόσμε. שלום עולם. مرحبا بالعالم. नमस्ते दुनिया 🙂🙂👍🏽 👨‍👩‍👧 e\u0301e\u0301 o\u0308o\u0308 1\u0301
<think> is what a model writes, </think> ends it: http://example.com/?a=1&b=2 {"key": [1, 2.5, null]}
"""

TEXTS = [
    "", " ", "\n", "\r\n", "\n\n", "   ", "  a", "a  ", "a \n b", "\t\tx", "x\u00a0y", "\u3000全角\u3000", "a\u180eb",
    "Hello, world!", "What is 1+1=12345?", "  def f(x):\n    return x\n\n", "I'll DON'T we'd THEY'VE '\u017f x's 's",
    "你好，世界 café", "🙂 naïve\r\n", "Cafe\u0301", "1234567890 12 ٣٤٥٦ ½ Ⅷ 一二三", "カタカナとひらがな漢字ー々",
    "👨‍👩‍👧‍👦👍🏽🇩🇪", "e\u0301\u0327 \u0327\u0301 \u212b \u1112\u1161\u11ab \u0344 \u07fd\u0301", "a\u0000b\u0001",
    "\U0001d2d3\U0001d2d3 \U00031350x \U00016d40y", "\u0b47\u0b3e \u09c7\u09be", "שָׁלוֹם مَرْحَبًا नमस्ते ไทย",
    "!!!???...\n\n", "a_b-c+d=e", "#include <x>\r\n\r\n  int main(){}", "\ufeffBOM", "x\u200by\u200dz\ufe0f",
    "\uffff\ufffd\U0010ffff", "'''", "don’t", "<", "</", "<thin", "<think", "< think>",
    "<think>\n\n</think>\n\n", "a<think>b</think>c", " <think> ", "<think><think></think>", "<<think>>",
    BOS + "<｜User｜>What is 1+1?<｜Assistant｜><think>\n", "x" + EOS + EOS + "y", "<｜User｜", "e<｜User｜>\u0301",
    "<|EOT|>x<|eot_id|>", "a <mask> b<mask>c", "  <strip>  x", "xe\u0301<x>y é<x>", "word keyword word2 (word) word",
    "<｜tool▁calls▁begin｜>", "<think>" * 5, "a" * 300, " " * 300 + "x", "\n" * 100 + " " * 100, "ab " * 100,
    "9" * 100, "é" * 100, "好" * 100,
]

# What the published templates of the family do with system, user and assistant texts.
DISTILL_TEMPLATE = (
    "{% set ns = namespace(system='') %}"
    "{% for m in messages %}{% if m.role == 'system' %}{% set ns.system = m.content %}{% endif %}{% endfor %}"
    "{{ bos }}{{ ns.system }}"
    "{% for m in messages %}"
    "{% if m.role == 'user' %}{{ '<｜User｜>' + m.content }}{% endif %}"
    "{% if m.role == 'assistant' %}{{ '<｜Assistant｜>' + m.content.split('</think>')[-1] + eos }}{% endif %}"
    "{% endfor %}{{ '<｜Assistant｜>' + {'forced': '<think>\n', 'off': '<think>\n\n</think>\n\n', 'model': ''}[mode] }}")
R1_TEMPLATE = DISTILL_TEMPLATE.replace(
    "{% set ns.system = m.content %}",
    "{% set ns.system = ns.system + ('\n\n' if ns.some else '') + m.content %}{% set ns.some = true %}").replace(
    "namespace(system='')", "namespace(system='', some=false)")

CHATS = [
    [("user", "What is 1+1?")],
    [("system", "You are a good assistant"), ("user", "Hi")],
    [("user", "Q1"), ("assistant", "<think>\nreasoning\n</think>\n\nA1"), ("user", "Q2")],
    [("user", "Q1"), ("assistant", "A1"), ("user", "Q2"), ("assistant", "<think>a</think>b</think> c"), ("user", "Q3")],
    [("system", "one"), ("user", "你好"), ("system", "two\n"), ("assistant", ""), ("system", "three")],
    [("system", ""), ("system", "after an empty one"), ("user", "")],
    [("user", "  spaces \n"), ("assistant", "\n\nA\n")],
    [("user", "e"), ("user", "\u0301 a combining mark comes first")],
]


def added_tokens(flavour):
    def token(content, special=False, **options):
        return AddedToken(content, special=special, **{"normalized": False, **options})

    family = [token("<｜User｜>"), token("<｜Assistant｜>"), token("<think>"), token("</think>")]
    if flavour == "qwen":
        return [token(EOS, True), *family, token(BOS, True), token("<|EOT|>"), token("<mask>", lstrip=True),
                token("<strip>", rstrip=True), token("word", single_word=True), token("é<x>", normalized=True)]
    if flavour == "llama":
        return [token(BOS, True), token(EOS, True), token("<|eot_id|>", True), *family]
    late = [AddedToken(t.content, special=False, normalized=True) for t in family]
    return [token("<｜place▁holder▁no▁0｜>", True), *late,
            AddedToken("<|EOT|>", special=True, normalized=True), AddedToken("<｜tool▁calls▁begin｜>", normalized=True)]


def train(flavour):
    tokenizer = Tokenizer(models.BPE())
    splits = {"qwen": [QWEN_SPLIT], "llama": [QWEN_SPLIT.replace(r"\p{N}|", r"\p{N}{1,3}|")], "r1": R1_SPLITS}[flavour]
    tokenizer.normalizer = normalizers.NFC() if flavour == "qwen" else None
    if flavour == "r1":
        tokenizer.normalizer = normalizers.Sequence([])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(split), "isolated") for split in splits] +
        [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    # R1 has its first special tokens inside the vocabulary.
    first = [AddedToken(t, special=True, normalized=False) for t in (BOS, EOS, "<｜▁pad▁｜>")] if flavour == "r1" else []
    trainer = trainers.BpeTrainer(vocab_size=700, special_tokens=first, show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator([TRAINING], trainer)
    spec = json.loads(tokenizer.to_str())
    if flavour == "llama":
        # An entry that no merge reaches: only ignore_merges finds it.
        spec["model"]["vocab"]["Ġquixotically"] = max(spec["model"]["vocab"].values()) + 1
        spec["model"]["ignore_merges"] = True
    if flavour != "qwen":
        spec["model"]["merges"] = [" ".join(pair) for pair in spec["model"]["merges"]]
    tokenizer = Tokenizer.from_str(json.dumps(spec))
    tokenizer.add_tokens(added_tokens(flavour))
    saved = json.loads(tokenizer.to_str())
    saved["model"]["merges"] = spec["model"]["merges"]  # both spellings occur in the wild
    return saved


def random_texts(seed, count):
    rng = random.Random(seed)
    # Without the letters that came after Unicode 15: ICU does not take them for word characters yet.
    chars = [c for text in TEXTS + [TRAINING] for c in text if c != "\U00016d40"]
    for _ in range(count):
        parts = [rng.choice(TEXTS)[:20] if rng.random() < 0.3 else "".join(rng.choices(chars, k=rng.randrange(1, 12)))
                 for _ in range(rng.randrange(1, 6))]
        yield "".join(parts)


def main():
    for flavour in ("qwen", "llama", "r1"):
        folder = OUT / f"{flavour}-small"
        folder.mkdir(parents=True, exist_ok=True)
        spec = train(flavour)
        text = json.dumps(spec, ensure_ascii=False, indent=1)
        (folder / "tokenizer.json").write_text(text + "\n", encoding="utf-8")
        tokenizer = Tokenizer.from_str(text)
        plain = Tokenizer.from_str(json.dumps({**spec, "added_tokens": []}))
        with open(folder / "encode.jsonl", "w", encoding="utf-8") as out:
            for sample in TEXTS + ["a quixotically x"] + list(random_texts(7, 150)):
                ids = tokenizer.encode(sample, add_special_tokens=False).ids
                user_ids = plain.encode(sample, add_special_tokens=False).ids
                out.write(json.dumps({"text": sample, "ids": ids, "user_ids": user_ids,
                                      "decoded": tokenizer.decode(ids, skip_special_tokens=True)}) + "\n")
        template = jinja2.Environment().from_string(R1_TEMPLATE if flavour == "r1" else DISTILL_TEMPLATE,
                                                    {"bos": BOS, "eos": EOS})
        with open(folder / "chat.jsonl", "w", encoding="utf-8") as out:
            for chat in CHATS:
                messages = [{"role": role, "content": content} for role, content in chat]
                for mode in ("forced", "off", "model"):
                    ids = tokenizer.encode(template.render(messages=messages, mode=mode), add_special_tokens=False).ids
                    out.write(json.dumps({"messages": messages, "mode": mode, "ids": ids}) + "\n")


if __name__ == "__main__":
    main()
