// The bundled model as quantised folders, served by their path alone.

#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "tests/integration/model_copy.h"
#include "tests/integration/programs.h"
#include "tests/integration/router_process.h"
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

std::string AnswerOf(RouterProcess& router, const std::string& question) {
  grpc::ClientContext context;
  const auto stream = router.stub().Generate(&context, AskGreedily(question));
  v1::GenerateResponse event;
  std::string answer;
  while (stream->Read(&event)) answer += event.answer_delta().text();
  const grpc::Status status = stream->Finish();
  EXPECT_TRUE(status.ok()) << status.error_message();
  return answer;
}

// As clients reach them, those that the other tests do not serve.
TEST_F(QuantizedServeTest, EveryFormAnswersThroughTheRouter) {
  for (const QuantizedForm& form :
       {QuantizedForm{"gptq", 4, 64}, QuantizedForm{"gptq", 4, 64, true},
        QuantizedForm{"compressed-tensors", 4, 128}, QuantizedForm{"int-quantized"},
        QuantizedForm{"float-quantized"}, QuantizedForm{"nf4"}}) {
    WorkerProcess worker({Model(form), "--served_model_name=tiny-r1", "--device=cpu"});
    ASSERT_TRUE(worker.listening()) << form.method;
    RouterProcess router("tiny-r1", absl::StrCat("127.0.0.1:", worker.port()));
    const std::string answer = AnswerOf(router, "What is 27+48?");
    EXPECT_NE(answer.find("75"), std::string::npos) << form.method << ": " << answer;
  }
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
