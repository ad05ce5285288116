// Draws random answers of JSON Schemas, for check_walks.py, and says how schemas are refused.
// Usage: grammar_walks walks|refusals SCHEMAS TOKENIZER_DIR SEED WALKS
//   SCHEMAS  a schema a line; prints {"schema": its line, "text", "ended"} a walk, or its refusal
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>
#include <string>

#include "common/check.h"
#include "tests/worker/grammar/grammar_testing.h"
#include "worker/text/tokenizer.h"

namespace {

using namespace thinkwire::worker;

constexpr std::size_t kMaxIds = 1500;

void Print(const nlohmann::ordered_json& line) { std::printf("%s\n", line.dump().c_str()); }

}  // namespace

int main(int argc, char** argv) {
  CHECK(argc == 6, "usage: grammar_walks walks|refusals SCHEMAS TOKENIZER_DIR SEED WALKS");
  const bool refusals = argv[1] == std::string("refusals");
  const auto tokenizer = *text::Tokenizer::Load(argv[3]);
  const auto vocabulary =
      *grammar::Vocabulary::Create(*tokenizer, {*tokenizer->eos_id()}, tokenizer->num_ids());
  std::mt19937 random(static_cast<unsigned>(std::atoi(argv[4])));
  std::ifstream schemas(argv[2]);
  int number = 0;
  for (std::string schema; std::getline(schemas, schema); ++number) {
    const auto compiled = grammar::Grammar::Compile(grammar::JsonSchemaFormat{schema}, vocabulary);
    if (refusals) {
      Print({{"schema", number}, {"refusal", std::string(compiled.status().message())}});
      continue;
    }
    CHECK(compiled.ok(), compiled.status().ToString().c_str());
    for (int i = 0; i < std::atoi(argv[5]); ++i) {
      const grammar::Walk walk = grammar::RandomWalk(*compiled, kMaxIds, random);
      CHECK(!walk.dead_end, "some token leads on");
      if (walk.ended) Print({{"schema", number}, {"text", walk.text}});
    }
  }
  return 0;
}
