// The bundled model as quantised folders, served by their path alone.

#include <gtest/gtest.h>

#include <string>

#include "tests/integration/model_copy.h"
#include "tests/integration/programs.h"
#include "tests/integration/worker_process.h"
#include "tests/worker/model/model_files.h"
#include "tests/worker/model/quantized_model.h"

namespace thinkwire::integration {
namespace {

using worker::model::QuantizedForm;

class QuantizedServeTest : public testing::Test {
 protected:
  // --model of the bundled model in this form, and of what its weights stand for in BF16.
  std::string Model(const QuantizedForm& form) {
    worker::model::WriteQuantized(kTinyModel, form, dir_.path() / "packed", dir_.path() / "dense");
    return "--model=" + (dir_.path() / "packed").string();
  }
  std::string dense() const { return "--model=" + (dir_.path() / "dense").string(); }

 private:
  const worker::model::TempDir dir_;
};

TEST_F(QuantizedServeTest, AnAwqFolderGivesTheBitsOfItsWeights) {
  WorkerProcess packed({Model({"awq", 4, 64}), "--device=cpu", "--quantization=awq"});
  WorkerProcess dense({this->dense(), "--device=cpu"});
  ASSERT_TRUE(packed.listening() && dense.listening());
  v1::GenerateRequest request = AskGreedily("What is 27+48?");
  request.mutable_reasoning_sampling()->set_logprobs(true);
  request.mutable_answer_sampling()->set_logprobs(true);
  const Generation a = packed.Generate(request);
  const Generation b = dense.Generate(request);
  ASSERT_TRUE(a.status.ok() && b.status.ok()) << a.status << b.status;
  EXPECT_EQ(a.ids, b.ids);
  EXPECT_EQ(a.logprobs, b.logprobs);
  EXPECT_EQ(a.order, "SrRaFC");
  EXPECT_EQ(a.started.fingerprint().rfind("qwen2-bf16+int4_g64-tp1-cpu", 0), 0U)
      << a.started.fingerprint();
}

TEST_F(QuantizedServeTest, EightBitsAnswerAndTellThemselves) {
  for (const char* method : {"gptq", "compressed-tensors"}) {
    WorkerProcess worker({Model({method, 8, 128}), "--device=cpu"});
    ASSERT_TRUE(worker.listening());
    const Generation all = worker.Generate(AskGreedily("What is 27+48?"));
    ASSERT_TRUE(all.status.ok()) << all.status;
    EXPECT_NE(all.answer.find("75"), std::string::npos) << all.answer;
    EXPECT_EQ(all.started.fingerprint().rfind("qwen2-bf16+int8-tp1", 0), 0U)
        << all.started.fingerprint();
  }
}

TEST_F(QuantizedServeTest, Fp8Answers) {
  WorkerProcess worker({Model({"fp8"}), "--device=cpu", "--quantization=fp8"});
  ASSERT_TRUE(worker.listening());
  const Generation all = worker.Generate(AskGreedily("What is 27+48?"));
  ASSERT_TRUE(all.status.ok()) << all.status;
  EXPECT_NE(all.answer.find("75"), std::string::npos) << all.answer;
  EXPECT_EQ(all.started.fingerprint().rfind("qwen2-bf16+fp8-tp1", 0), 0U)
      << all.started.fingerprint();
}

TEST_F(QuantizedServeTest, Fp8IsMadeWhileLoading) {
  WorkerProcess worker(
      {std::string("--model=") + kTinyModel, "--device=cpu", "--quantization=fp8"});
  ASSERT_TRUE(worker.listening());
  const Generation all = worker.Generate(AskGreedily("What is 27+48?"));
  ASSERT_TRUE(all.status.ok()) << all.status;
  EXPECT_NE(all.answer.find("75"), std::string::npos) << all.answer;
  EXPECT_EQ(all.started.fingerprint().rfind("qwen2-bf16+fp8-tp1", 0), 0U)
      << all.started.fingerprint();
}

TEST_F(QuantizedServeTest, RefusalsAreOneLine) {
  const std::string model = Model({"awq", 4, 128});
  const auto last_word = [&](const std::string& option) {
    return LastWordOf(kWorker, "thinkwire-worker", {model, option});
  };
  EXPECT_NE(last_word("--quantization=gptq").find("which auto and awq allow"), std::string::npos);
  EXPECT_NE(last_word("--tensor_parallel_size=2").find("whole packed blocks of 128 columns"),
            std::string::npos);
}

}  // namespace
}  // namespace thinkwire::integration
