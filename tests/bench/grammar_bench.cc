// What answers of a form cost: compiling a schema, and the mask of every token of a text that obeys
// it, from a state in which nothing is known but what the text itself led to: of each the median of
// kPasses, as others use the machine too. Processor time of one thread. Usage: grammar_bench
// TOKENIZER_DIR [FILE]; FILE has {"schema", "text"} a line.
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <numeric>
#include <string>
#include <vector>

#include "common/check.h"
#include "worker/grammar/grammar.h"
#include "worker/text/tokenizer.h"

namespace {

using namespace thinkwire::worker;

constexpr int kPasses = 5;

struct Times {
  std::vector<double> compile_ms, mask_us, accept_us, warm_us;
};

double ProcessorSeconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

template <class F>
double Seconds(F work) {
  const double start = ProcessorSeconds();
  work();
  return ProcessorSeconds() - start;
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values.empty() ? 0 : values[values.size() / 2];
}

// One for each pass, so that none knows what another has learnt.
std::vector<std::shared_ptr<const grammar::Grammar>> Compile(
    const std::string& schema, std::shared_ptr<const grammar::Vocabulary> vocabulary,
    Times* times) {
  std::vector<double> each;
  std::vector<std::shared_ptr<const grammar::Grammar>> compiled;
  for (int i = 0; i < kPasses; ++i) {
    each.push_back(1e3 * Seconds([&] {
                     auto result =
                         grammar::Grammar::Compile(grammar::JsonSchemaFormat{schema}, vocabulary);
                     CHECK(result.ok(), result.status().ToString().c_str());
                     compiled.push_back(*result);
                   }));
  }
  times->compile_ms.push_back(Median(each));
  return compiled;
}

void Follow(const std::shared_ptr<const grammar::Grammar>& compiled,
            const std::vector<std::int32_t>& ids, std::vector<double>* mask_us, Times* times) {
  grammar::Matcher matcher(compiled);
  std::vector<grammar::MaskWord> mask(compiled->vocabulary().num_words());
  for (const std::int32_t id : ids) {
    mask_us->push_back(1e6 * Seconds([&] { matcher.NextMask(mask); }));
    CHECK(grammar::HasBit(mask, id), "the text obeys the schema");
    bool accepted = false;
    times->accept_us.push_back(1e6 * Seconds([&] { accepted = matcher.Accept(id); }));
    CHECK(accepted, "what the mask has is accepted");
  }
  CHECK(matcher.IsComplete(), "the text is whole");
}

// By place, of passes of one length.
std::vector<double> Medians(const std::vector<std::vector<double>>& passes) {
  std::vector<double> medians;
  for (std::size_t i = 0; i < passes.front().size(); ++i) {
    std::vector<double> each;
    for (const std::vector<double>& pass : passes) each.push_back(pass[i]);
    medians.push_back(Median(each));
  }
  return medians;
}

void Print(const char* name, const std::vector<double>& values, const char* unit) {
  const double sum = std::accumulate(values.begin(), values.end(), 0.0);
  std::printf("%-22s median %8.3f  mean %8.3f  longest %8.3f %s\n", name, Median(values),
              sum / static_cast<double>(values.size()),
              *std::max_element(values.begin(), values.end()), unit);
}

}  // namespace

int main(int argc, char** argv) {
  CHECK(argc >= 2, "usage: grammar_bench TOKENIZER_DIR [FILE]");
  const auto tokenizer = text::Tokenizer::Load(argv[1]);
  CHECK(tokenizer.ok(), tokenizer.status().ToString().c_str());
  std::shared_ptr<const grammar::Vocabulary> vocabulary;
  const double load = Seconds([&] {
    vocabulary = *grammar::Vocabulary::Create(**tokenizer, {(*tokenizer)->eos_id().value_or(0)},
                                              (*tokenizer)->num_ids());
  });
  std::printf("%d ids; vocabulary laid out in %.0f ms\n", (*tokenizer)->num_ids(), load * 1e3);
  std::ifstream file(argc > 2 ? argv[2] : "tests/data/schemas/measured.jsonl");
  Times times;
  int number = 0;
  for (std::string line; std::getline(file, line); ++number) {
    const auto entry = nlohmann::ordered_json::parse(line);
    const auto compiled = Compile(entry["schema"].dump(), vocabulary, &times);
    const auto ids = (*tokenizer)->EncodeUserText(entry["text"].get<std::string>());
    std::vector<std::vector<double>> passes(kPasses);
    for (int i = 0; i < kPasses; ++i) Follow(compiled[i], ids, &passes[i], &times);
    Follow(compiled.front(), ids, &times.warm_us, &times);
    const std::vector<double> cold = Medians(passes);
    times.mask_us.insert(times.mask_us.end(), cold.begin(), cold.end());
    std::printf("%2d: %4zu tokens, compile %6.3f ms, masks mean %7.2f longest %7.1f us\n", number,
                ids.size(), times.compile_ms.back(),
                std::accumulate(cold.begin(), cold.end(), 0.0) / static_cast<double>(cold.size()),
                *std::max_element(cold.begin(), cold.end()));
  }
  Print("compile", times.compile_ms, "ms");
  Print("mask, first time", times.mask_us, "us");
  Print("mask, known", times.warm_us, "us");
  Print("accept", times.accept_us, "us");
  return 0;
}
