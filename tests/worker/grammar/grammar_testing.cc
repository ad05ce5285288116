#include "tests/worker/grammar/grammar_testing.h"

#include <bit>

#include "common/check.h"

namespace thinkwire::worker::grammar {
namespace {

// Ids in a mask, those that end something first.
struct Allowed {
  std::vector<std::int32_t> all, closing;
};

bool Closes(std::string_view bytes) {
  return bytes.empty() || bytes.front() == '"' || bytes.front() == '}' || bytes.front() == ']';
}

Allowed Read(const std::vector<MaskWord>& mask, const Vocabulary& vocabulary) {
  Allowed allowed;
  for (std::int32_t id = 0; id < vocabulary.num_ids(); ++id) {
    if (!HasBit(mask, id)) continue;
    allowed.all.push_back(id);
    if (Closes(vocabulary.Bytes(id))) allowed.closing.push_back(id);
  }
  return allowed;
}

}  // namespace

std::shared_ptr<const Vocabulary> MakeVocabulary(const std::vector<std::string>& more) {
  std::vector<Vocabulary::Token> tokens;
  for (int byte = 0; byte < 256; ++byte) {
    tokens.push_back({std::string(1, static_cast<char>(byte)), byte + 1});
  }
  std::int32_t id = 257;
  for (const std::string& bytes : more) tokens.push_back({bytes, id++});
  auto vocabulary = Vocabulary::Create(std::move(tokens), {kEndId}, id);
  CHECK(vocabulary.ok(), vocabulary.status().ToString().c_str());
  return *vocabulary;
}

std::shared_ptr<const Grammar> MustCompile(const AnswerFormat& format,
                                           std::shared_ptr<const Vocabulary> vocabulary) {
  auto grammar = Grammar::Compile(format, std::move(vocabulary));
  CHECK(grammar.ok(), grammar.status().ToString().c_str());
  return *grammar;
}

bool Accepts(const AnswerFormat& format, std::string_view text) {
  Matcher matcher(MustCompile(format, MakeVocabulary()));
  for (const char c : text) {
    if (!matcher.Accept(1 + static_cast<std::uint8_t>(c))) return false;
  }
  return matcher.IsComplete();
}

std::string Refusal(const AnswerFormat& format) {
  const auto grammar = Grammar::Compile(format, MakeVocabulary());
  return grammar.ok() ? "" : std::string(grammar.status().message());
}

Walk RandomWalk(const std::shared_ptr<const Grammar>& grammar, std::size_t max_ids,
                std::mt19937& random) {
  Walk walk;
  Matcher matcher(grammar);
  std::vector<MaskWord> mask(grammar->vocabulary().num_words());
  while (walk.ids.size() < max_ids && !walk.ended) {
    matcher.NextMask(mask);
    const Allowed allowed = Read(mask, grammar->vocabulary());
    walk.dead_end = allowed.all.empty();
    if (walk.dead_end) break;
    const bool close = !allowed.closing.empty() && random() % 100 < 10 + walk.ids.size();
    const auto& ids = close ? allowed.closing : allowed.all;
    const std::int32_t id = ids[random() % ids.size()];
    CHECK(matcher.Accept(id), "what a mask has is accepted");
    walk.ids.push_back(id);
    walk.text += grammar->vocabulary().Bytes(id);
    walk.ended = grammar->vocabulary().Bytes(id).empty();
  }
  return walk;
}

}  // namespace thinkwire::worker::grammar
