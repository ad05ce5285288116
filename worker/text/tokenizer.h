#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace thinkwire::worker::text {

struct TokenizerFiles;

// The ids that the R1 family's chat template and phase machine are built of, by the content of the
// added tokens; nullopt where a tokenizer has none.
struct ControlIds {
  std::optional<std::int32_t> bos, eos, user, assistant, think_begin, think_end;
  std::optional<std::int32_t> tool_outputs_end;
};

// A byte-level BPE tokenizer as Hugging Face `tokenizer.json` describes it, for the vocabularies of
// the family: Qwen2.5, Llama 3 and DeepSeek-V3 (tokenizer_json.h says which options are known).
//
// Compared with Hugging Face `tokenizers` 0.23.3 over every code point, alone, between letters and
// after a space, by tests/data/scripts/compare_tokenizer.py: no difference, which takes the Unicode
// versions that it has, 16.0 for the classes of split patterns (split_pattern.h) and 9.0 for
// normalisation (nfc.h). The exception, which no tokenizer of the family uses: next to an added
// token with `single_word`, word characters are those of the Unicode version of the build's tables.
// Threads: every method may be called from any thread at once. Beside what is immutable there is a
// cache (piece_cache.h) for each thread that encoded at the same time.
class Tokenizer {
 public:
  // Reads `model`/tokenizer.json and what stands beside it (tokenizer_files.h has the order), or
  // the values of a GGUF file (gguf_tokenizer.h). Fails: NOT_FOUND without tokenizer.json,
  // INVALID_ARGUMENT for a damaged file, UNIMPLEMENTED for an option that is not supported; the
  // message names the file and the key.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Load(const std::filesystem::path& model);

  ~Tokenizer();
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  // The ids that Hugging Face `tokenizers` gives for encode(text, add_special_tokens=False): added
  // tokens in the text become their ids, and no BOS is put before them (the chat template emits
  // BOS by itself). Callers should refuse invalid UTF-8; here it counts as U+FFFD.
  // Bytes that have no entry in the vocabulary yield nothing, as there (see num_missing_bytes).
  std::vector<std::int32_t> Encode(std::string_view utf8) const;

  // As Encode, but of a message's text: `<think>`, `<｜User｜>` and the like are plain characters,
  // and no id of an added token comes out, whatever the text is.
  std::vector<std::int32_t> EncodeUserText(std::string_view utf8) const;

  // The bytes that a token stands for (a token may be a part of a character); an added token's are
  // its content. Empty for an id that is not defined. Valid as long as the tokenizer.
  std::string_view TokenBytes(std::int32_t id) const;

  // Added token flagged special: yields no text when decoded.
  bool IsSpecial(std::int32_t id) const;
  bool IsAdded(std::int32_t id) const;

  // The added token with this content, else the vocabulary entry with these bytes ("Hello", " the":
  // raw bytes, not the byte-level spelling).
  std::optional<std::int32_t> TokenId(std::string_view content) const;

  // One more than the highest id defined: embedding rows from here on are padding.
  std::int32_t num_ids() const;

  // One more than the highest id that a text or a conversation may need. Added tokens may have
  // higher ones: a model without rows for these can be served as long as nobody asks for them.
  std::int32_t num_needed_ids() const;

  // What the files say that is not obeyed, or is unusual: a sentence each, naming the file.
  const std::vector<std::string>& warnings() const;

  // How many of the bytes that can occur in UTF-8 have no vocabulary entry. Not 0: such characters
  // vanish from prompts, which deserves a warning.
  int num_missing_bytes() const;

  const ControlIds& control_ids() const;
  std::optional<std::int32_t> bos_id() const { return control_ids().bos; }
  std::optional<std::int32_t> eos_id() const { return control_ids().eos; }
  std::optional<std::int32_t> user_id() const { return control_ids().user; }
  std::optional<std::int32_t> assistant_id() const { return control_ids().assistant; }
  std::optional<std::int32_t> think_begin_id() const { return control_ids().think_begin; }
  std::optional<std::int32_t> think_end_id() const { return control_ids().think_end; }

 private:
  struct Parts;
  explicit Tokenizer(std::unique_ptr<const Parts> parts);

  // `name` opens messages.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Build(TokenizerFiles files,
                                                          const std::string& name);

  // Constant after construction.
  const std::unique_ptr<const Parts> parts_;
};

}  // namespace thinkwire::worker::text
