// `thinkwire-worker quantize`: what it writes of the bundled model is served by its path alone, and
// read as others read it.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/integration/model_copy.h"
#include "tests/integration/process.h"
#include "tests/integration/programs.h"
#include "tests/integration/worker_process.h"
#include "tests/worker/model/model_files.h"

namespace thinkwire::integration {
namespace {

// Between float32 sums in two orders; formats are apart by more (the last test below).
constexpr float kLogprobTolerance = 1e-3F;

// What transformers answers with what the command writes as `format`; none: with the bundled model.
Generation AnswerOfTransformers(const std::string& format) {
  const auto answer =
      nlohmann::json::parse(worker::model::ReadFile("tests/data/reader_answers.json")).at(format);
  Generation all;
  all.prompt_ids = answer.at("prompt_ids").get<std::vector<std::int32_t>>();
  all.ids = answer.at("ids").get<std::vector<std::int32_t>>();
  all.logprobs = answer.at("logprobs").get<std::vector<float>>();
  return all;
}

// Of the first ids as many as both have.
float MostApart(const Generation& a, const Generation& b) {
  float most = 0;
  for (std::size_t i = 0; i < std::min(a.logprobs.size(), b.logprobs.size()); ++i) {
    most = std::max(most, std::abs(a.logprobs[i] - b.logprobs[i]));
  }
  return most;
}

class QuantizeTest : public testing::Test {
 protected:
  std::string out(const std::string& name) const { return (dir_.path() / name).string(); }

  // What the command said, once it has ended well.
  static std::string Quantize(const std::string& format, const std::string& to) {
    Process process({kWorker, "quantize", kTinyModel, to, "--format", format});
    EXPECT_EQ(process.Wait(), 0) << process.error();
    return process.output();
  }

  static void ExpectReadAsByTransformers(WorkerProcess& worker, const std::string& format) {
    const Generation theirs = AnswerOfTransformers(format);
    v1::GenerateRequest request = AskGreedily("");
    request.mutable_prompt()->mutable_token_ids()->mutable_ids()->Add(theirs.prompt_ids.begin(),
                                                                      theirs.prompt_ids.end());
    request.set_variant("any");
    request.set_max_tokens(static_cast<std::int32_t>(theirs.ids.size()));
    request.mutable_reasoning_sampling()->set_logprobs(true);
    request.mutable_answer_sampling()->set_logprobs(true);
    Generation ours = worker.Generate(request);
    ASSERT_TRUE(ours.status.ok()) << ours.status;
    ASSERT_GE(ours.ids.size(), theirs.ids.size());
    ours.ids.resize(theirs.ids.size());
    EXPECT_EQ(ours.ids, theirs.ids);
    ASSERT_GE(ours.logprobs.size(), theirs.logprobs.size());
    EXPECT_LT(MostApart(ours, theirs), kLogprobTolerance) << format;
  }

  static void ExpectServed(const std::string& path, const std::string& format,
                           const std::string& fingerprint) {
    WorkerProcess worker({"--model=" + path, "--device=cpu"});
    ASSERT_TRUE(worker.listening());
    ExpectReadAsByTransformers(worker, format);
    const Generation all = worker.Generate(AskGreedily("What is 27+48?"));
    ASSERT_TRUE(all.status.ok()) << all.status;
    EXPECT_NE(all.answer.find("75"), std::string::npos) << all.answer;
    EXPECT_EQ(all.order, "SrRaFC");
    EXPECT_EQ(all.started.fingerprint().rfind(fingerprint, 0), 0U) << all.started.fingerprint();
  }

  const worker::model::TempDir dir_;
};

TEST_F(QuantizeTest, GgufFilesAreServed) {
  const std::string q8 = out("tiny-q8.gguf");
  const std::string q4 = out("tiny-q4.gguf");
  EXPECT_EQ(Quantize("gguf-q8_0", q8).rfind(q8 + ": 44 matrices in gguf-q8_0, mean", 0), 0U);
  EXPECT_EQ(Quantize("gguf-q4_k_m", q4).rfind(q4 + ": 44 matrices in gguf-q4_k_m, mean", 0), 0U);
  ExpectServed(q8, "gguf-q8_0", "qwen2-q8_0-tp1-cpu");
  // Down projections have 640 columns, no whole blocks of 256.
  ExpectServed(q4, "gguf-q4_k_m", "qwen2-q8_0+q4_k+q6_k-tp1-cpu");
}

TEST_F(QuantizeTest, FoldersAreServed) {
  const std::string awq = out("awq");
  const std::string fp8 = out("fp8");
  Quantize("awq-gemm", awq);
  Quantize("fp8-block", fp8);
  ExpectServed(awq, "awq-gemm", "qwen2-bf16+int4-tp1-cpu");
  ExpectServed(fp8, "fp8-block", "qwen2-bf16+fp8-tp1-cpu");
}

// So that an answer tells which weights it was made with.
TEST(TransformersAnswersTest, AreApartByMoreThanTheTolerance) {
  const std::vector<std::string> formats = {"none", "awq-gemm", "fp8-block", "gguf-q8_0",
                                            "gguf-q4_k_m"};
  for (std::size_t i = 0; i < formats.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      EXPECT_GT(MostApart(AnswerOfTransformers(formats[i]), AnswerOfTransformers(formats[j])),
                5 * kLogprobTolerance)
          << formats[i] << " and " << formats[j];
    }
  }
}

TEST_F(QuantizeTest, RefusalsAreOneLine) {
  const auto last_word = [&](const std::vector<std::string>& options) {
    return LastWordOf(kWorker, "thinkwire-worker quantize", options);
  };
  const std::string to = out("x.gguf");
  EXPECT_NE(last_word({"quantize", kTinyModel, to, "--format=gguf-q5_k"}).find("gguf-q8_0"),
            std::string::npos);
  EXPECT_NE(last_word({"quantize", kTinyModel}).find("needs two paths"), std::string::npos);
  EXPECT_NE(last_word({"quantize", "nowhere", to, "--format=gguf-q8_0"}).find("nowhere"),
            std::string::npos);
  EXPECT_NE(last_word({"quantize", kTinyModel, to, "--format=gguf-q8_0", "--group_size=64"})
                .find("group_size is for awq-gemm alone"),
            std::string::npos);
  worker::model::WriteFile(to, "mine");
  EXPECT_NE(last_word({"quantize", kTinyModel, to, "--format=gguf-q8_0"}).find("is there already"),
            std::string::npos);
  EXPECT_EQ(worker::model::ReadFile(to), "mine");
}

}  // namespace
}  // namespace thinkwire::integration
