// `thinkwire-worker quantize`: what it writes of the bundled model is served by its path alone.

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/integration/model_copy.h"
#include "tests/integration/process.h"
#include "tests/integration/programs.h"
#include "tests/integration/worker_process.h"
#include "tests/worker/model/model_files.h"

namespace thinkwire::integration {
namespace {

class QuantizeTest : public testing::Test {
 protected:
  std::string out(const std::string& name) const { return (dir_.path() / name).string(); }

  // What the command said, once it has ended well.
  static std::string Quantize(const std::string& format, const std::string& to) {
    Process process({kWorker, "quantize", kTinyModel, to, "--format", format});
    EXPECT_EQ(process.Wait(), 0) << process.error();
    return process.output();
  }

  static void ExpectServed(const std::string& path, const std::string& fingerprint) {
    WorkerProcess worker({"--model=" + path, "--device=cpu"});
    ASSERT_TRUE(worker.listening());
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
  ExpectServed(q8, "qwen2-q8_0-tp1-cpu");
  // Down projections have 640 columns, no whole blocks of 256.
  ExpectServed(q4, "qwen2-q8_0+q4_k+q6_k-tp1-cpu");
}

TEST_F(QuantizeTest, FoldersAreServed) {
  const std::string awq = out("awq");
  const std::string fp8 = out("fp8");
  Quantize("awq-gemm", awq);
  Quantize("fp8-block", fp8);
  ExpectServed(awq, "qwen2-bf16+int4-tp1-cpu");
  ExpectServed(fp8, "qwen2-bf16+fp8-tp1-cpu");
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
  worker::model::WriteFile(to, "mine");
  EXPECT_NE(last_word({"quantize", kTinyModel, to, "--format=gguf-q8_0"}).find("is there already"),
            std::string::npos);
  EXPECT_EQ(worker::model::ReadFile(to), "mine");
}

}  // namespace
}  // namespace thinkwire::integration
