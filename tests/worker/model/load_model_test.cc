#include "worker/model/load_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "tests/worker/model/local_plans.h"
#include "tests/worker/model/model_files.h"
#include "tests/worker/model/step_driver.h"

namespace thinkwire::worker::model {
namespace {

constexpr std::int32_t kDraws = 24;  // as many as the expected files hold

ModelOptions SmallOptions(const std::string& name) {
  ModelOptions options;
  options.model_dir = ModelDir(name);
  options.device = "cpu";
  options.cpu_threads = 2;
  options.max_model_len = 128;
  options.max_num_seqs = 4;
  options.max_num_batched_tokens = 128;
  options.max_in_flight = 2;
  return options;
}

std::unique_ptr<ModelRunner> Load(const ModelOptions& options) {
  auto model = LoadModel(options, LocalPlans(options));
  EXPECT_TRUE(model.ok()) << model.status();
  return model.ok() ? *std::move(model) : nullptr;
}

std::vector<std::int32_t> Ids(const std::vector<Drawn>& drawn) {
  std::vector<std::int32_t> ids;
  for (const Drawn& token : drawn) ids.push_back(token.id);
  return ids;
}

// A fresh model's tokens for `prompt`.
std::vector<Drawn> Draw(const ModelOptions& options, const std::vector<std::int32_t>& prompt,
                        const step::SamplingParams& params, std::size_t chunk = 1000,
                        int depth = 1) {
  const auto model = Load(options);
  if (model == nullptr) return {};
  StepDriver driver(*model);
  driver.Begin(0, params);
  return driver.Generate(0, prompt, kDraws, chunk, depth);
}

step::SamplingParams Seeded(std::uint64_t seed) {
  step::SamplingParams params;
  params.phases[step::Phase::kReasoning].temperature = 1.0F;
  params.phases[step::Phase::kAnswer].temperature = 1.0F;
  params.seed = seed;
  return params;
}

class GreedyParity : public testing::TestWithParam<std::tuple<const char*, int>> {};

TEST_P(GreedyParity, TokensMatchTransformersOnAnyNumberOfRanks) {
  const auto& [name, ranks] = GetParam();
  const Expected expected = ReadExpected(name);
  ModelOptions options = SmallOptions(name);
  options.tensor_parallel_size = ranks;
  const std::vector<Drawn> drawn = Draw(options, expected.prompt, Greedy());
  ASSERT_EQ(Ids(drawn), expected.greedy);
  for (std::size_t i = 0; i < drawn.size(); ++i) {
    EXPECT_NEAR(drawn[i].logprob, expected.greedy_logprobs[i], 2e-4F) << "token " << i;
  }
}

// 4 ranks outnumber the 2 KV heads.
INSTANTIATE_TEST_SUITE_P(Models, GreedyParity,
                         testing::Combine(testing::Values("qwen2", "qwen2-tied", "llama"),
                                          testing::Values(1, 2, 4)),
                         [](const auto& info) {
                           std::string name = std::get<0>(info.param);
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name + "_tp" + std::to_string(std::get<1>(info.param));
                         });

class ModelRunnerTest : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override { expected_ = ReadExpected(GetParam()); }
  Expected expected_;
};

TEST_P(ModelRunnerTest, ChunksOfAPromptGiveTheSameBits) {
  const ModelOptions options = SmallOptions(GetParam());
  std::vector<std::int32_t> prompt = expected_.prompt;
  prompt.insert(prompt.end(), expected_.prompt.begin(), expected_.prompt.end());  // 82 tokens
  const std::vector<Drawn> whole = Draw(options, prompt, Seeded(7));
  ASSERT_EQ(whole.size(), static_cast<std::size_t>(kDraws));
  for (const std::size_t chunk : {1, 7, 64}) {
    EXPECT_EQ(Draw(options, prompt, Seeded(7), chunk), whole) << "chunks of " << chunk;
  }
}

TEST_P(ModelRunnerTest, RunningAheadGivesTheSameBits) {
  const ModelOptions options = SmallOptions(GetParam());
  const auto one = Draw(options, expected_.prompt, Seeded(3), 16, 1);
  EXPECT_EQ(Draw(options, expected_.prompt, Seeded(3), 16, 2), one);
  EXPECT_EQ(one.size(), static_cast<std::size_t>(kDraws));
}

TEST_P(ModelRunnerTest, ThreadCountKeepsTheBits) {
  ModelOptions options = SmallOptions(GetParam());
  const auto two = Draw(options, expected_.prompt, Seeded(3));
  for (const std::int32_t threads : {1, 3}) {
    options.cpu_threads = threads;
    EXPECT_EQ(Draw(options, expected_.prompt, Seeded(3)), two) << threads << " threads";
  }
}

// A sequence among others, each at its own position, one of them a prompt in chunks.
TEST_P(ModelRunnerTest, NeighboursKeepTheBits) {
  const ModelOptions options = SmallOptions(GetParam());
  const auto alone = Draw(options, expected_.prompt, Seeded(5));
  const auto model = Load(options);
  ASSERT_NE(model, nullptr);
  StepDriver driver(*model);
  for (std::int32_t slot = 0; slot < 4; ++slot) driver.Begin(slot, Seeded(5 + (slot + 2) % 4));
  driver.Step({{0, {4, 5, 6}}, {1, {7}}});
  std::vector<Drawn> among = {driver.Step({{0, {}}, {2, expected_.prompt}, {1, {}}}).at(2)};
  for (std::int32_t i = 1; i < kDraws; ++i) {
    std::vector<Feed> feeds = {{0, {}}, {3, {i, 2 * i, 9}, false}, {2, {}}};
    if (i % 3 == 0) feeds.insert(feeds.begin(), {1, {}});
    among.push_back(driver.Step(feeds).at(2));
  }
  EXPECT_EQ(among, alone);
}

TEST_P(ModelRunnerTest, RecomputingPromptAndTokensContinuesTheSame) {
  const ModelOptions options = SmallOptions(GetParam());
  const auto whole = Draw(options, expected_.prompt, Seeded(11));
  std::vector<std::int32_t> prefix = expected_.prompt;
  for (std::size_t i = 0; i < 10; ++i) prefix.push_back(whole[i].id);
  const auto rest = Draw(options, prefix, Seeded(11), 13);
  ASSERT_EQ(rest.size(), static_cast<std::size_t>(kDraws));
  for (std::size_t i = 10; i < whole.size(); ++i) EXPECT_EQ(rest[i - 10], whole[i]) << i;
}

TEST_P(ModelRunnerTest, LastDrawnIsTheDrawnId) {
  const auto model = Load(SmallOptions(GetParam()));
  ASSERT_NE(model, nullptr);
  StepDriver driver(*model);
  driver.Begin(0, Seeded(1));
  driver.Begin(1, Seeded(1));
  const Drawn first = driver.Step({{0, expected_.prompt}}).at(0);
  const Drawn copy = driver.Step({{1, expected_.prompt}}).at(1);
  ASSERT_EQ(first, copy);
  const auto second = driver.Step({{0, {}}, {1, {copy.id}}});
  EXPECT_EQ(second.at(0), second.at(1));
}

INSTANTIATE_TEST_SUITE_P(Models, ModelRunnerTest, testing::Values("qwen2", "llama", "deepseek"));

// The device switches phase by itself: reasoning draws greedily, the answer by seed.
TEST(ModelRunnerPhaseTest, ThinkEndAsInputDrawsAsAnswer) {
  const std::int32_t think_end = 17;
  const Expected expected = ReadExpected("qwen2");
  const auto model = Load(SmallOptions("qwen2"));
  ASSERT_NE(model, nullptr);
  step::SamplingParams switching = Greedy();
  switching.phases[step::Phase::kAnswer].temperature = 5.0F;
  switching.seed = 1;
  switching.think_end_id = think_end;
  std::vector<std::int32_t> prompt = expected.prompt;
  prompt.back() = think_end;
  StepDriver driver(*model);
  const auto draw = [&](const step::SamplingParams& params, step::Phase phase) {
    driver.Begin(0, params);
    return driver.Step({{0, prompt, true, phase}}).at(0).id;
  };
  step::SamplingParams ignorant = switching;
  ignorant.think_end_id = -1;
  const std::int32_t reasoned = draw(ignorant, step::Phase::kReasoning);
  const std::int32_t answered = draw(ignorant, step::Phase::kAnswer);
  ASSERT_NE(reasoned, answered) << "the test needs a seed that tells the phases apart";
  EXPECT_EQ(draw(switching, step::Phase::kReasoning), answered);
  EXPECT_EQ(draw(switching, step::Phase::kAnswer), answered);
}

TEST(ModelRunnerPhaseTest, DrawnThinkEndSwitchesBeforeTheHostKnows) {
  const Expected expected = ReadExpected("qwen2");
  step::SamplingParams params = Greedy();
  params.phases[step::Phase::kAnswer].temperature = 5.0F;
  params.seed = 1;
  params.think_end_id = expected.greedy[0];  // the first greedy token ends thinking
  const auto known = Load(SmallOptions("qwen2"));
  StepDriver by_host(*known);
  by_host.Begin(0, params);
  ASSERT_EQ(by_host.Step({{0, expected.prompt}}).at(0).id, params.think_end_id);
  const Drawn after = by_host.Step({{0, {params.think_end_id}, true, step::Phase::kAnswer}}).at(0);
  ASSERT_NE(after.id, expected.greedy[1]) << "the test needs a seed that tells the phases apart";
  const auto ahead = Load(SmallOptions("qwen2"));
  StepDriver by_device(*ahead);
  by_device.Begin(0, params);
  by_device.Submit({{0, expected.prompt}});
  by_device.Submit({{0, {}}});
  by_device.Collect();
  EXPECT_EQ(by_device.Collect().at(0), after);
}

TEST(ModelRunnerLoadTest, IdsThatTheTokenizerLacksAreNeverDrawn) {
  const Expected expected = ReadExpected("qwen2");
  ModelOptions options = SmallOptions("qwen2");
  options.num_token_ids = 90;
  const auto model = Load(options);
  ASSERT_NE(model, nullptr);
  EXPECT_EQ(model->limits().vocab_size, 90);
  StepDriver driver(*model);
  step::SamplingParams wild = Seeded(0);
  wild.phases[step::Phase::kReasoning].temperature = 1e6F;  // near uniform
  wild.phases[step::Phase::kReasoning].top_p = 1.0F;
  driver.Begin(0, wild);
  std::int32_t highest = 0;
  highest = driver.Step({{0, {1, 2, 3}}}).at(0).id;
  for (int i = 0; i < 100; ++i) {
    const std::int32_t id = driver.Step({{0, {}}}).at(0).id;
    ASSERT_LT(id, 90);
    highest = std::max(highest, id);
  }
  EXPECT_GT(highest, 60);
}

TEST(ModelRunnerLoadTest, IdsWithoutARowAreNoneOfTheModels) {
  ModelOptions options = SmallOptions("qwen2");
  options.num_token_ids = 97;
  const auto model = Load(options);
  ASSERT_NE(model, nullptr);
  EXPECT_EQ(model->limits().vocab_size, 96);
}

TEST(ModelRunnerLoadTest, RandomWeightsDependOnTheSeedAlone) {
  ModelOptions options = SmallOptions("qwen2");
  options.random_weights = true;
  options.seed = 42;
  const std::vector<std::int32_t> prompt = {1, 2, 3, 4, 5};
  const auto first = Draw(options, prompt, Greedy());
  EXPECT_EQ(Draw(options, prompt, Greedy()), first);
  for (const std::int32_t ranks : {2, 4}) {
    options.tensor_parallel_size = ranks;
    EXPECT_EQ(Ids(Draw(options, prompt, Greedy())), Ids(first)) << ranks << " ranks";
  }
  options.tensor_parallel_size = 1;
  options.seed = 43;
  EXPECT_NE(Ids(Draw(options, prompt, Greedy())), Ids(first));
}

TEST(ModelRunnerLoadTest, RandomWeightsNeedNoCheckpoint) {
  const TempDir dir;
  WriteFile(dir.path() / "config.json", ReadFile(ModelDir("llama") / "config.json"));
  ModelOptions options = SmallOptions("llama");
  options.model_dir = dir.path();
  options.random_weights = true;
  EXPECT_NE(Load(options), nullptr);
  options.random_weights = false;
  EXPECT_FALSE(LoadModel(options, LocalPlans(options)).ok());
}

TEST(ModelRunnerLoadTest, InfoDescribesTheModel) {
  const auto model = Load(SmallOptions("llama"));
  ASSERT_NE(model, nullptr);
  const ModelInfo& info = model->info();
  EXPECT_EQ(info.architecture, "LlamaForCausalLM");
  EXPECT_THAT(info.end_of_sequence_ids, testing::ElementsAre(93, 95));
  EXPECT_EQ(info.parameters,
            2 * (64 * (128 + 64 + 64 + 128) + 3 * 64 * 96 + 128) + 2 * 96 * 64 + 64);
  EXPECT_GE(info.weight_bytes, 2 * info.parameters);
  EXPECT_EQ(info.stored_weights, "BF16");
  EXPECT_EQ(info.kv_cache_tokens, model->limits().num_blocks * model->limits().block_tokens);
  EXPECT_EQ(info.kv_cache_tokens, 4 * 128);
  EXPECT_THAT(info.fingerprint, testing::StartsWith("llama-bf16-tp1-cpu-r"));
}

TEST(ModelRunnerLoadTest, FingerprintTellsWhatChangesTheText) {
  const auto fingerprint = [](const ModelOptions& options) {
    const auto model = Load(options);
    return model == nullptr ? std::string() : model->info().fingerprint;
  };
  ModelOptions options = SmallOptions("qwen2");
  const std::string base = fingerprint(options);
  options.cpu_threads = 1;
  options.max_num_seqs = 2;
  EXPECT_EQ(fingerprint(options), base);
  options.tensor_parallel_size = 2;
  EXPECT_NE(fingerprint(options), base);
  options.tensor_parallel_size = 1;
  options.random_weights = true;
  const std::string random = fingerprint(options);
  EXPECT_NE(random, base);
  options.seed = 1;
  EXPECT_NE(fingerprint(options), random);

  const TempDir dir;
  CopyModel("qwen2", dir.path());
  std::string file = ReadFile(dir.path() / "model.safetensors");
  file[file.size() - 2] ^= 1;  // the last place of one weight
  WriteFile(dir.path() / "model.safetensors", file);
  options = SmallOptions("qwen2");
  options.model_dir = dir.path();
  EXPECT_NE(fingerprint(options), base);
}

TEST(ModelRunnerLoadTest, RefusesOptionsOutOfRange) {
  const auto message = [](auto change) {
    ModelOptions options = SmallOptions("qwen2");
    change(options);
    const auto model = LoadModel(options, LocalPlans(options));
    return model.ok() ? std::string("loaded") : std::string(model.status().message());
  };
  using testing::HasSubstr;
  EXPECT_THAT(message([](auto& o) { o.max_model_len = 129; }),
              HasSubstr("2 to 128, the model's max_position_embeddings"));
  EXPECT_THAT(message([](auto& o) { o.max_model_len = 1; }),
              HasSubstr("max_model_len is 1; allowed: 2 to 128"));
  EXPECT_THAT(message([](auto& o) { o.kv_cache_memory_bytes = std::int64_t{1} << 53; }),
              HasSubstr("kv_cache_memory_bytes does not fit"));
  EXPECT_THAT(message([](auto& o) { o.max_num_seqs = 0; }), HasSubstr("max_num_seqs"));
  EXPECT_THAT(message([](auto& o) { o.max_num_batched_tokens = 3; }),
              HasSubstr("max_num_batched_tokens"));
  EXPECT_THAT(message([](auto& o) { o.block_tokens = 24; }), HasSubstr("block_size"));
  EXPECT_THAT(message([](auto& o) { o.num_token_ids = -1; }), HasSubstr("allowed: 1 to 96"));
  EXPECT_THAT(message([](auto& o) { o.kv_cache_memory_bytes = 1; }), HasSubstr("KV cache"));
  EXPECT_THAT(message([](auto& o) { o.tensor_parallel_size = 3; }), HasSubstr("allowed: 1, 2, 4"));
  EXPECT_THAT(message([](auto& o) { o.device = "abacus"; }), HasSubstr("abacus"));
  EXPECT_THAT(message([](auto& o) { o.model_dir = "/nowhere"; }), HasSubstr("/nowhere"));
}

TEST(ModelRunnerLoadTest, AcceptsOtherFloatTypes) {
  // bf16 widened to F32 is the same numbers, so that the tokens stay.
  const TempDir dir;
  CopyModel("qwen2", dir.path());
  const SafetensorsParts parts = SplitSafetensors(ReadFile(dir.path() / "model.safetensors"));
  nlohmann::json header = parts.header;
  std::string data;
  for (std::size_t i = 0; i < parts.data.size(); i += 2) {
    data.append(2, '\0').append(parts.data, i, 2);
  }
  for (auto& [name, entry] : header.items()) {
    if (name == "__metadata__") continue;
    entry["dtype"] = "F32";
    for (auto& offset : entry["data_offsets"]) offset = 2 * offset.get<std::int64_t>();
  }
  WriteFile(dir.path() / "model.safetensors", Safetensors(header, data));
  ModelOptions options = SmallOptions("qwen2");
  options.model_dir = dir.path();
  const auto model = Load(options);
  ASSERT_NE(model, nullptr);
  EXPECT_EQ(model->info().stored_weights, "F32");
  const Expected expected = ReadExpected("qwen2");
  EXPECT_EQ(Ids(Draw(options, expected.prompt, Greedy())), expected.greedy);
}

}  // namespace
}  // namespace thinkwire::worker::model
