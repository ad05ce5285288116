// The bundled model as a GGUF file, served by its path alone.

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "tests/integration/model_copy.h"
#include "tests/integration/programs.h"
#include "tests/integration/worker_process.h"
#include "tests/worker/model/gguf_model.h"
#include "tests/worker/model/model_files.h"
#include "tests/worker/text/gguf_vocabulary.h"

namespace thinkwire::integration {
namespace {

using worker::kernels::Encoding;

class GgufServeTest : public testing::Test {
 protected:
  // --model of the bundled model with matrices of `encoding`.
  std::string Model(Encoding encoding, const std::string& name = "tiny-r1.gguf") const {
    const auto read = [](const char* file) {
      return nlohmann::json::parse(worker::model::ReadFile(std::string(kTinyModel) + "/" + file));
    };
    GgufWriter writer;
    worker::model::AddValues(kTinyModel, writer);
    worker::text::AddTokenizer(read("tokenizer.json"), "deepseek-r1-qwen", 640, writer);
    writer.Text("tokenizer.chat_template",
                read("tokenizer_config.json").at("chat_template").get<std::string>());
    worker::model::AddTensors(kTinyModel, encoding, writer);
    worker::model::WriteFile(dir_.path() / name, writer.File());
    return "--model=" + (dir_.path() / name).string();
  }

  const worker::model::TempDir dir_;
};

TEST_F(GgufServeTest, AFileOfBf16GivesTheBitsOfTheFolder) {
  WorkerProcess file({Model(Encoding::kBf16), "--device=cpu"});
  WorkerProcess folder({std::string("--model=") + kTinyModel, "--device=cpu"});
  ASSERT_TRUE(file.listening() && folder.listening());
  v1::GenerateRequest request = AskGreedily("What is 27+48?");
  request.mutable_reasoning_sampling()->set_logprobs(true);
  request.mutable_answer_sampling()->set_logprobs(true);
  const Generation a = file.Generate(request);
  const Generation b = folder.Generate(request);
  ASSERT_TRUE(a.status.ok() && b.status.ok()) << a.status << b.status;
  EXPECT_EQ(a.prompt_ids, b.prompt_ids);
  EXPECT_EQ(a.ids, b.ids);
  EXPECT_EQ(a.logprobs, b.logprobs);
  EXPECT_EQ(a.reasoning, b.reasoning);
  EXPECT_EQ(a.answer, b.answer);
  EXPECT_EQ(a.order, "SrRaFC");
}

TEST_F(GgufServeTest, Q8AnswersAndTellsItself) {
  const std::string model = Model(Encoding::kQ8_0);
  WorkerProcess one({model, "--device=cpu", "--quantization=gguf"});
  WorkerProcess two({model, "--device=cpu", "--tensor_parallel_size=2"});
  ASSERT_TRUE(one.listening() && two.listening());
  for (WorkerProcess* worker : {&one, &two}) {
    const Generation all = worker->Generate(AskGreedily("What is 27+48?"));
    ASSERT_TRUE(all.status.ok()) << all.status;
    EXPECT_NE(all.answer.find("75"), std::string::npos) << all.answer;
    EXPECT_EQ(all.started.fingerprint().rfind("qwen2-q8_0-tp", 0), 0U) << all.started.fingerprint();
  }
}

TEST_F(GgufServeTest, RefusalsAreOneLine) {
  const std::string option = Model(Encoding::kQ8_0);
  const std::string path = option.substr(option.find('=') + 1);
  const auto last_word = [&](const std::vector<std::string>& options) {
    return LastWordOf(kWorker, "thinkwire-worker", options);
  };
  EXPECT_NE(last_word({option, "--quantization=none"}).find("but the weights are q8_0"),
            std::string::npos);
  std::string bytes = worker::model::ReadFile(path);
  worker::model::WriteFile(path, bytes.substr(0, bytes.size() / 2));
  EXPECT_NE(last_word({option}).find("tiny-r1.gguf: tensor \"blk."), std::string::npos);
  worker::model::WriteFile(path, "GGUF");
  EXPECT_NE(last_word({option}).find("is the file truncated?"), std::string::npos);
}

}  // namespace
}  // namespace thinkwire::integration
