#include "tests/bench/engine_bench.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "nlohmann/json.hpp"
#include "tests/bench/distill_shapes.h"
#include "tests/bench/engine_command.h"
#include "tests/bench/engine_options.h"
#include "worker/model/checkpoint/model_plan.h"

namespace thinkwire::bench {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string path = testing::TempDir() + "/thinkwire-bench-test-XXXXXX";
    path_ = ::mkdtemp(path.data());
  }
  ~TemporaryFolder() { fs::remove_all(path_); }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

struct Parameters {
  const char* name;
  std::int64_t count;  // of the published checkpoint
};

class DistillShapesTest : public testing::TestWithParam<Parameters> {};

TEST_P(DistillShapesTest, HasThePublishedParameters) {
  const TemporaryFolder folder;
  std::ofstream(folder.path() / "config.json") << DistillConfig(GetParam().name);
  const auto config = worker::model::LoadModelConfig(folder.path());
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(worker::model::CountParameters(worker::model::MakePlan(*config)), GetParam().count);
}

INSTANTIATE_TEST_SUITE_P(
    , DistillShapesTest,
    testing::Values(Parameters{"qwen-1.5b", 1777088000}, Parameters{"qwen-7b", 7615616512},
                    Parameters{"qwen-14b", 14770033664}, Parameters{"qwen-32b", 32763876352},
                    Parameters{"llama-8b", 8030261248}, Parameters{"llama-70b", 70553706496}));

TEST(DistillNamesTest, AreAllThereAre) {
  EXPECT_EQ(DistillNames().size(), 7U);
  EXPECT_EQ(DistillConfig("qwen-3b"), "");
}

TEST(EngineOptionsTest, ReadsLists) {
  const std::vector<const char*> arguments = {"--batch=2,8", "--context=", "--prefill", "100"};
  const auto options = ParseEngineOptions(arguments);
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->batch, (std::vector<std::int32_t>{2, 8}));
  EXPECT_TRUE(options->context.empty());
  EXPECT_EQ(options->prefill, (std::vector<std::int32_t>{100}));
}

TEST(EngineOptionsTest, NamesWhatIsWrong) {
  const auto message = [](const char* argument) {
    const std::vector<const char*> arguments = {argument};
    return std::string(ParseEngineOptions(arguments).status().message());
  };
  EXPECT_EQ(message("--batch=1,x"), "--batch: 'x' is not a whole number");
  EXPECT_EQ(message("--batch=0"), "--batch is 0; allowed: 1 to 4096");
  EXPECT_EQ(message("--output=1"), "--output is 1; allowed: 2 to 1048576");
  EXPECT_EQ(message("--repetitions=0"), "--repetitions is 0; allowed: 1 to 1000");
  EXPECT_EQ(message("qwen-7b"), "'qwen-7b' is no option");
  EXPECT_EQ(message("--quantization=int4"),
            "--quantization is 'int4'; allowed: none, awq, fp8, q4_k_m, q8_0");
  EXPECT_EQ(message("--activation_dtype=int8"),
            "--activation_dtype is 'int8'; allowed: bfloat16, fp8_e4m3");
}

TEST(EngineOptionsTest, QuantizationIsForRandomWeights) {
  for (const char* form : {"--quantization=awq", "--quantization=q4_k_m", "--quantization=q8_0"}) {
    const std::vector<const char*> arguments = {form, "--model=qwen-7b"};
    EXPECT_TRUE(ParseEngineOptions(arguments).ok()) << form;
  }
  const std::vector<const char*> folder = {"--quantization=awq", "--model=/some/folder"};
  EXPECT_EQ(ParseEngineOptions(folder).status().message(),
            "--quantization is for a distill's random weights; a folder says itself what it holds");
}

TEST(EngineCommandTest, WritesFiguresOfTheBundledModel) {
  const TemporaryFolder folder;
  const std::string path = (folder.path() / "figures.json").string();
  const std::vector<const char*> arguments = {"--model=deploy/models/tiny-r1",
                                              "--device=cpu",
                                              "--batch=1,3",
                                              "--prompt=8",
                                              "--output=6",
                                              "--context=40",
                                              "--prefill=24",
                                              "--max_num_batched_tokens=48",
                                              "--repetitions=2",
                                              "--json",
                                              path.c_str()};
  ASSERT_EQ(RunEngineCommand(arguments), 0);
  const json report = json::parse(std::ifstream(path));
  EXPECT_EQ(report["model"], "deploy/models/tiny-r1");
  EXPECT_EQ(report["stored_weights"], "BF16");
  EXPECT_GT(report["roofs"]["read_bytes_per_second"], 1e8);
  EXPECT_GT(report["roofs"]["matrix_flops_per_second"], 1e8);
  EXPECT_EQ(report["kv_bytes_per_token"], 6 * 2 * 2 * 128 * 4);  // layers, K and V, heads, f32

  const json& figures = report["figures"];
  ASSERT_EQ(figures.size(), 4U);
  const std::vector<std::vector<int>> shapes = {{1, 8, 6}, {3, 8, 6}, {1, 40, 6}, {2, 24, 1}};
  for (std::size_t i = 0; i < figures.size(); ++i) {
    SCOPED_TRACE(figures[i].dump());
    const std::vector<int> shape = {figures[i]["sequences"], figures[i]["prompt_tokens"],
                                    figures[i]["output_tokens"]};
    EXPECT_EQ(shape, shapes[i]);
    EXPECT_EQ(figures[i]["kind"], i < 3 ? "decode" : "prefill");
    EXPECT_EQ(figures[i]["generated_tokens"], shape[0] * shape[2]);
    EXPECT_GT(figures[i]["tokens_per_second"], 0);
    EXPECT_GE(figures[i]["tokens_per_second"], figures[i]["lowest_tokens_per_second"]);
    EXPECT_LE(figures[i]["tokens_per_second"], figures[i]["highest_tokens_per_second"]);
    EXPECT_GT(figures[i]["first_token_seconds"], 0);
    EXPECT_GT(figures[i]["roof_share"], 0);
    EXPECT_EQ(figures[i].contains("gap_seconds"), i < 3);
  }
  // Every weight but the embedding, and the keys and values of 8 + 6 / 2 positions.
  const double weights = report["weight_bytes_per_token"];
  EXPECT_EQ(figures[1]["bytes_per_step"], weights + 3 * 11 * 12288.0);
  EXPECT_EQ(figures[0]["step_seconds"]["count"], 2 * 4);  // the first follows the prompt's step
}

TEST(EngineCommandTest, SaysWhatIsWrongWithTheModel) {
  const std::vector<const char*> arguments = {"--model=/nowhere"};
  testing::internal::CaptureStderr();
  EXPECT_EQ(RunEngineCommand(arguments), 1);
  EXPECT_NE(testing::internal::GetCapturedStderr().find("/nowhere"), std::string::npos);
}

TEST(EngineCommandTest, TellsHowAnIdIsDownloaded) {
  const std::vector<const char*> arguments = {"--model=deepseek-ai/DeepSeek-R1-Distill-Qwen-7B"};
  testing::internal::CaptureStderr();
  EXPECT_EQ(RunEngineCommand(arguments), 1);
  EXPECT_NE(testing::internal::GetCapturedStderr().find("hf download"), std::string::npos);
}

TEST(EngineBenchTest, SpreadsTheGapsOfFullDecodeSteps) {
  EngineBenchOptions options;
  options.model = "deploy/models/tiny-r1";
  options.batch = {1};
  options.prompt = 8;
  options.output = 10;
  options.context = {};
  options.prefill = {};
  options.repetitions = 1;
  std::string notes;
  const auto report = RunEngineBench(
      options, [](const EngineReport&) {}, [&](const std::string& note) { notes += note + "\n"; });
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(notes,
            "measuring what the hardware gives\nloading deploy/models/tiny-r1\nwarming up\n"
            "batch 1 at 8 tokens, 1 of 1\n");
  const Figure& figure = report->figures.at(0);
  EXPECT_EQ(figure.gap_seconds.count, 8U);  // of nine decodes, the first follows the prompt's step
  EXPECT_GT(figure.gap_seconds.median, 0);
  EXPECT_LT(figure.gap_seconds.median, figure.step_seconds.median);
}

}  // namespace
}  // namespace thinkwire::bench
