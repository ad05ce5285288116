// The same request gives the same bits, whatever stands beside it, however its prompt was cut, and
// wherever it was interrupted: the whole way through scheduler, decoder, kernels and sampling.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <ostream>
#include <string>
#include <vector>

#include "tests/worker/exactness/whole_engine.h"

namespace thinkwire::worker {
namespace {

using engine::Request;

struct Place {
  std::string device;
  int ranks = 1;
  Shape shape;
  // A device that computes quickly gets more of everything.
  std::int32_t max_num_seqs = 0;
  std::int32_t longest_prompt = 0;
  bool fp8_kv = false;
  std::string weights = "auto";  // as --quantization draws them
  bool draws_fp8 = false;        // the layers', as the bench does
  bool fp8_inputs = false;       // what weights in FP8 are multiplied with
};

// For processors, sanitizers among them.
const Shape kQwenTiny = {"qwen_tiny", false, 256, 2, 2, 2, 512, 1003};
const Shape kLlamaTiny = {"llama_tiny", true, 256, 2, 4, 2, 384, 1024};
const Shape kDeepseekTiny = {"deepseek_tiny", false, 256, 3, 4, 1, 384, 1003, true};
const Shape kQwen = {"qwen", false, 512, 3, 4, 2, 1024, 1003};
const Shape kLlama = {"llama", true, 512, 2, 6, 2, 1280, 2048};
const Shape kDeepseek = {"deepseek", false, 512, 4, 8, 1, 1024, 1003, true, 512};
// As many heads as DeepSeek-R1, and prompts over several segments of keys.
const Shape kDeepseekWide = {"deepseek_wide", false, 1024, 3, 128, 1, 2048, 1003, true, 512};
// The first two layers of DeepSeek-R1-Distill-Qwen-1.5B and -Llama-8B.
const Shape kQwenReal = {"qwen15b", false, 1536, 2, 12, 2, 8960, 151936};
const Shape kLlamaReal = {"llama8b", true, 4096, 2, 32, 8, 14336, 128256};

std::vector<Place> Places() {
  return {{"cpu", 1, kQwenTiny, 6, 40},
          {"cpu", 2, kLlamaTiny, 6, 40},
          {"cpu", 1, kDeepseekTiny, 6, 40},
          {"cpu", 4, kDeepseekTiny, 6, 40},
          {"cpu", 1, kQwenTiny, 6, 40, true},
          {"cuda", 1, kQwen, 100, 300},
          {"cuda", 1, kQwen, 100, 300, true},
          {"cuda", 1, kLlamaReal, 96, 700, true},
          {"cuda", 1, kLlama, 100, 300},
          {"cuda", 1, kQwenReal, 128, 700},
          {"cuda", 1, kLlamaReal, 96, 700},
          {"cuda", 2, kQwen, 100, 300},
          {"cuda", 2, kLlamaReal, 96, 700},
          {"cuda", 1, kDeepseek, 100, 300},
          {"cuda", 1, kDeepseek, 100, 300, false, "auto", true},
          {"cuda", 1, kDeepseekWide, 32, 700, false, "auto", true},
          {"cuda", 2, kDeepseek, 100, 300, false, "auto", true},
          {"cuda", 1, kQwen, 100, 300, false, "auto", true, true},
          {"cuda", 1, kLlamaReal, 96, 700, false, "auto", true, true},
          {"cuda", 1, kDeepseek, 100, 300, false, "auto", true, true},
          {"cuda", 2, kQwen, 100, 300, false, "auto", true, true}};
}

// The same with weights that are packed.
Place With(Place place, const std::string& weights) {
  place.shape.name += "_" + weights;
  place.weights = weights;
  return place;
}

std::vector<Place> PackedPlaces() {
  std::vector<Place> places;
  for (const char* weights : {"awq", "q4_k_m", "q8_0", "fp8"}) {
    places.push_back(With({"cpu", 1, kQwenTiny, 6, 40}, weights));
    places.push_back(With({"cuda", 1, kQwen, 100, 300}, weights));
  }
  return places;
}

std::string NameOf(const Place& place) {
  return place.shape.name + "_" + place.device + "_tp" + std::to_string(place.ranks) +
         (place.fp8_kv ? "_fp8_kv" : "") + (place.draws_fp8 ? "_fp8_weights" : "") +
         (place.fp8_inputs ? "_fp8_inputs" : "");
}

void PrintTo(const Place& place, std::ostream* out) { *out << NameOf(place); }

class ExactnessTest : public testing::TestWithParam<Place> {
 protected:
  static constexpr std::int32_t kTokens = 12;      // drawn by each request
  static constexpr std::int32_t kLongTokens = 64;  // over several borders of blocks

  void SetUp() override {
    WholeEngine engine(place().shape, Options());
    if (!engine.why_none().empty()) GTEST_SKIP() << engine.why_none();
    requests_ = MakeRequests();
    alone_ = engine.RunAlone(requests_);
  }

  const Place& place() const { return GetParam(); }

  model::ModelOptions Options() const {
    model::ModelOptions options;
    options.device = place().device;
    options.quantization = place().weights;
    options.kv_cache_dtype = place().fp8_kv ? "fp8_e4m3" : "auto";
    if (place().fp8_inputs) options.activation_dtype = "fp8_e4m3";
    if (place().draws_fp8) options.random_encoding = kernels::Encoding::kFp8;
    options.cpu_threads = place().ranks;
    options.tensor_parallel_size = place().ranks;
    options.max_num_seqs = place().max_num_seqs;
    options.max_num_batched_tokens = 1024;
    options.max_model_len = place().longest_prompt + kTokens;
    return options;
  }

  // As many as run at once, their prompts of all lengths up to the longest, in random order.
  std::vector<Request> MakeRequests() const {
    std::vector<Request> requests;
    for (std::int32_t i = 0; i < place().max_num_seqs; ++i) {
      const std::int32_t prompt = 1 + (i * 7919 % place().max_num_seqs) *
                                          (place().longest_prompt - 1) /
                                          std::max(1, place().max_num_seqs - 1);
      requests.push_back(RandomRequest(static_cast<std::uint64_t>(i), prompt, kTokens,
                                       static_cast<std::int32_t>(place().shape.vocab)));
    }
    return requests;
  }

  // `options` with KV cache for a third of what `requests` would fill, but for the longest at
  // least.
  model::ModelOptions WithRoomForAThird(model::ModelOptions options,
                                        const std::vector<Request>& requests) const {
    std::int64_t tokens = 0;
    for (const Request& request : requests) {
      tokens += std::ssize(request.prompt_ids) + *request.max_tokens;
    }
    const std::int64_t longest = options.max_model_len + options.block_tokens;
    const std::int64_t element = place().fp8_kv ? 1 : place().device == "cuda" ? 2 : 4;
    const std::int64_t copies = place().shape.latents ? place().ranks : 1;
    options.kv_cache_memory_bytes = std::max(tokens / 3, longest) * place().shape.layers *
                                    place().shape.kv_elements() * element * copies;
    return options;
  }

  static std::int32_t SumOfPreemptions(const std::vector<Text>& texts) {
    const auto count = [](std::int32_t sum, const Text& text) { return sum + text.preemptions; };
    return std::accumulate(texts.begin(), texts.end(), 0, count);
  }

  // The device is there: SetUp saw it.
  std::vector<Text> RunWith(const model::ModelOptions& options,
                            const std::vector<Request>& requests) const {
    return WholeEngine(place().shape, options).Run(requests);
  }

  std::vector<Request> requests_;
  std::vector<Text> alone_;
};

TEST_P(ExactnessTest, NeighboursAndTheirNumberChangeNothing) {
  WholeEngine engine(place().shape, Options());
  for (std::size_t batch = 2; batch <= requests_.size(); ++batch) {
    // Another part of the requests each time.
    const std::size_t first = batch * 5 % (requests_.size() - batch + 1);
    const auto begin = static_cast<std::ptrdiff_t>(first);
    const auto end = static_cast<std::ptrdiff_t>(first + batch);
    const std::vector<Text> expected(alone_.begin() + begin, alone_.begin() + end);
    ASSERT_EQ(engine.Run({requests_.begin() + begin, requests_.begin() + end}), expected)
        << batch << " at once";
  }
}

TEST_P(ExactnessTest, ChunksOfPromptsChangeNothing) {
  for (const std::int32_t tokens : {1, 7, 61, 256}) {
    model::ModelOptions options = Options();
    options.max_num_batched_tokens = tokens;
    options.max_num_seqs = std::min(tokens, options.max_num_seqs);
    ASSERT_EQ(RunWith(options, requests_), alone_) << tokens << " tokens a step";
  }
}

TEST_P(ExactnessTest, PrefillOfDrawnTokensContinuesWithTheSameBits) {
  WholeEngine engine(place().shape, Options());
  for (std::int32_t cut = 1; cut < kTokens; ++cut) {
    std::vector<Request> requests = requests_;
    std::vector<Text> expected = alone_;
    for (std::size_t i = 0; i < requests.size(); ++i) {
      std::vector<std::int32_t>& prompt = requests[i].prompt_ids;
      prompt.insert(prompt.end(), alone_[i].ids.begin(), alone_[i].ids.begin() + cut);
      requests[i].max_tokens = kTokens - cut;
      expected[i].ids.erase(expected[i].ids.begin(), expected[i].ids.begin() + cut);
      expected[i].logprobs.erase(expected[i].logprobs.begin(), expected[i].logprobs.begin() + cut);
      expected[i].alternatives.erase(expected[i].alternatives.begin(),
                                     expected[i].alternatives.begin() + cut);
    }
    ASSERT_EQ(engine.Run(requests), expected) << "after " << cut << " tokens";
  }
}

// What another worker drew is taken as drawn: penalties count it, noise goes on from its position.
TEST_P(ExactnessTest, OutputsGoOnFromWhatAnotherWorkerDrew) {
  model::ModelOptions options = Options();
  options.max_model_len = place().longest_prompt + kLongTokens;
  std::vector<Request> requests = requests_;
  for (Request& request : requests) {
    request.max_tokens = kLongTokens;
    request.sampling.phases[step::Phase::kReasoning].frequency_penalty = 0.25F;
  }
  const std::vector<Text> whole = WholeEngine(place().shape, options).RunAlone(requests);
  const auto resume = [&](WholeEngine& engine, std::int32_t cut) {
    std::vector<Request> resumed = requests;
    std::vector<Text> expected = whole;
    for (std::size_t i = 0; i < resumed.size(); ++i) {
      Text& rest = expected[i];
      resumed[i].drawn_ids.assign(rest.ids.begin(), rest.ids.begin() + cut);
      rest.ids.erase(rest.ids.begin(), rest.ids.begin() + cut);
      rest.logprobs.erase(rest.logprobs.begin(), rest.logprobs.begin() + cut);
      rest.alternatives.erase(rest.alternatives.begin(), rest.alternatives.begin() + cut);
    }
    const std::vector<Text> texts = engine.Run(resumed);
    EXPECT_EQ(texts, expected) << "after " << cut << " tokens";
    return SumOfPreemptions(texts);
  };
  for (const std::int32_t in_flight : {1, 2}) {
    options.max_in_flight = in_flight;
    WholeEngine roomy(place().shape, options, true);
    for (const std::int32_t cut : {1, 17, kLongTokens - 1}) resume(roomy, cut);
    WholeEngine tight(place().shape, WithRoomForAThird(options, requests), true);
    EXPECT_GT(resume(tight, 5), 0);
  }
}

TEST_P(ExactnessTest, PreemptionChangesNothing) {
  // Long enough that all grow by several blocks, with room for a third of what all would like.
  model::ModelOptions options = Options();
  options.max_model_len = place().longest_prompt + kLongTokens;
  std::vector<Request> requests = requests_;
  for (Request& request : requests) request.max_tokens = kLongTokens;
  // Penalties that tell the prompt from what was drawn since.
  for (std::size_t i = 0; i < requests.size(); i += 2) {
    requests[i].sampling.phases[step::Phase::kReasoning].frequency_penalty = 0.25F;
    requests[i].sampling.phases[step::Phase::kReasoning].presence_penalty = 0.5F;
  }
  const std::vector<Text> expected = WholeEngine(place().shape, options).RunAlone(requests);
  const std::vector<Text> texts = RunWith(WithRoomForAThird(options, requests), requests);
  EXPECT_EQ(texts, expected);
  EXPECT_GT(SumOfPreemptions(texts), 0);
}

// Each turn asks with what the one before had, its answer and something new; neighbours begin
// alike.
TEST_P(ExactnessTest, PrefixHitsChangeNothing) {
  constexpr std::int32_t kTurns = 2;
  constexpr std::int32_t kNew = 9;  // tokens that a turn asks beyond the answer before
  model::ModelOptions options = Options();
  options.max_model_len = place().longest_prompt + kTurns * (kLongTokens + kNew);
  std::vector<Request> requests = requests_;
  for (std::size_t i = 1; i < requests.size(); ++i) {
    const std::vector<std::int32_t>& before = requests[i - 1].prompt_ids;
    std::vector<std::int32_t>& prompt = requests[i].prompt_ids;
    const std::size_t shared = std::min(before.size(), prompt.size()) * (i % 4) / 3;
    std::copy_n(before.begin(), shared, prompt.begin());
  }
  for (Request& request : requests) request.max_tokens = kLongTokens;
  WholeEngine cold(place().shape, options);
  WholeEngine warm(place().shape, options, true);
  WholeEngine tight(place().shape, WithRoomForAThird(options, requests), true);
  std::int32_t preemptions = 0;
  for (std::int32_t turn = 0; turn < kTurns; ++turn) {
    const std::vector<Text> expected = cold.Run(requests);
    ASSERT_EQ(warm.Run(requests), expected) << "turn " << turn;
    ASSERT_EQ(warm.Run(requests), expected) << "again in turn " << turn;
    const std::vector<Text> texts = tight.Run(requests);
    ASSERT_EQ(texts, expected) << "with few blocks in turn " << turn;
    preemptions += SumOfPreemptions(texts);
    for (std::size_t i = 0; i < requests.size(); ++i) {
      std::vector<std::int32_t>& prompt = requests[i].prompt_ids;
      prompt.insert(prompt.end(), expected[i].ids.begin(), expected[i].ids.end());
      const Request more = RandomRequest(i * kTurns + static_cast<std::size_t>(turn), kNew, 1,
                                         static_cast<std::int32_t>(place().shape.vocab));
      prompt.insert(prompt.end(), more.prompt_ids.begin(), more.prompt_ids.end());
    }
  }
  EXPECT_EQ(cold.status().prefix_use.hits, 0U);
  // Whoever asks a second time finds all but its last block.
  EXPECT_GT(warm.status().prefix_use.hit_tokens, warm.status().prefix_use.query_tokens / 2);
  EXPECT_GT(tight.status().prefix_use.hits, 0U);
  EXPECT_GT(preemptions, 0);
}

TEST_P(ExactnessTest, AFreshlyLoadedModelGivesTheSame) {
  EXPECT_EQ(RunWith(Options(), requests_), alone_);
}

INSTANTIATE_TEST_SUITE_P(Places, ExactnessTest, testing::ValuesIn(Places()),
                         [](const auto& info) { return NameOf(info.param); });
INSTANTIATE_TEST_SUITE_P(PackedWeights, ExactnessTest, testing::ValuesIn(PackedPlaces()),
                         [](const auto& info) { return NameOf(info.param); });

// An expert multiplies as many rows as chose it, from none to all.
TEST(RowsTest, OneTo128OfADeepseekGiveTheSame) {
  constexpr std::size_t kRows = 128;
  model::ModelOptions options;
  options.device = "cpu";
  options.cpu_threads = 2;
  options.max_num_seqs = kRows;
  options.max_num_batched_tokens = 256;
  options.max_model_len = 64;
  std::vector<Request> requests;
  for (std::size_t i = 0; i < kRows; ++i) {
    requests.push_back(RandomRequest(i, 1 + static_cast<std::int32_t>(i % 19), 6,
                                     static_cast<std::int32_t>(kDeepseekTiny.vocab)));
  }
  WholeEngine engine(kDeepseekTiny, options);
  const std::vector<Text> together = engine.Run(requests);
  for (const std::size_t rows : {1, 2, 3, 7, 16, 17, 64, 127}) {
    const auto last = static_cast<std::ptrdiff_t>(rows);
    EXPECT_EQ(engine.Run({requests.begin(), requests.begin() + last}),
              std::vector<Text>(together.begin(), together.begin() + last))
        << rows;
  }
}

TEST(RanksTest, TwoAndFourGiveTheBitsOfOneWhereSumsAreInFourParts) {
  model::ModelOptions options;
  options.device = "cpu";
  options.cpu_threads = 2;
  options.max_num_seqs = 4;
  options.max_num_batched_tokens = 64;
  options.max_model_len = 128;
  std::vector<Request> requests;
  for (std::int32_t i = 0; i < 4; ++i) {
    requests.push_back(RandomRequest(static_cast<std::uint64_t>(i), 20 + 15 * i, 20,
                                     static_cast<std::int32_t>(kDeepseekTiny.vocab)));
  }
  const std::vector<Text> of_one = WholeEngine(kDeepseekTiny, options).Run(requests);
  for (const int ranks : {2, 4}) {
    options.tensor_parallel_size = ranks;
    EXPECT_EQ(WholeEngine(kDeepseekTiny, options).Run(requests), of_one) << ranks;
  }
}

// Sums over ranks round otherwise than sums on one: close, not equal.
TEST(RanksTest, TwoGpusAreCloseToOne) {
  constexpr std::int32_t kRequests = 64;
  constexpr double kTolerance = 0.05;  // of a natural logarithm, at bf16's 2^-8 a rounding
  model::ModelOptions options;
  options.device = "cuda";
  options.max_num_seqs = kRequests;
  options.max_num_batched_tokens = 1024;
  options.max_model_len = 512;
  std::vector<Request> requests;
  for (std::int32_t i = 0; i < kRequests; ++i) {
    requests.push_back(RandomRequest(static_cast<std::uint64_t>(i), 1 + i * 5, 1,
                                     static_cast<std::int32_t>(kLlamaReal.vocab)));
  }
  WholeEngine one(kLlamaReal, options);
  options.tensor_parallel_size = 2;
  WholeEngine two(kLlamaReal, options);
  for (const WholeEngine* engine : {&one, &two}) {
    if (!engine->why_none().empty()) GTEST_SKIP() << engine->why_none();
  }
  const std::vector<Text> of_one = one.Run(requests);
  const std::vector<Text> of_two = two.Run(requests);
  int same_id = 0;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    if (of_one[i].ids != of_two[i].ids) continue;  // noise and logits were nearly even
    ++same_id;
    EXPECT_NEAR(of_one[i].logprobs[0], of_two[i].logprobs[0], kTolerance) << i;
  }
  EXPECT_GE(same_id, kRequests * 9 / 10);
}

}  // namespace
}  // namespace thinkwire::worker
