// What a worker says and how it ends when it cannot, or shall not, serve.

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/integration/model_copy.h"
#include "tests/integration/process.h"
#include "tests/integration/programs.h"
#include "tests/integration/worker_process.h"

namespace thinkwire::integration {
namespace {

namespace fs = std::filesystem;

// The one line that the worker must end with before it listens.
std::string LastWord(const std::vector<std::string>& options) {
  return LastWordOf(kWorker, "thinkwire-worker", options);
}

TEST(WorkerOptionsTest, BrokenCheckpointsEndInOneLineThatNamesTheFile) {
  struct Case {
    const char* what;
    const char* named;
    std::function<void(const ModelCopy&)> harm;
  };
  const std::vector<Case> cases = {
      {"truncated weights", "model.safetensors",
       [](const ModelCopy& model) {
         const fs::path file = model / "model.safetensors";
         fs::resize_file(file, fs::file_size(file) / 2);
       }},
      {"empty weights", "model.safetensors",
       [](const ModelCopy& model) { fs::resize_file(model / "model.safetensors", 0); }},
      {"corrupt header", "model.safetensors",
       [](const ModelCopy& model) {
         std::fstream file(model / "model.safetensors",
                           std::ios::in | std::ios::out | std::ios::binary);
         file.seekp(20);
         file.write("\0\0\0\0", 4);
       }},
      {"huge header length", "model.safetensors",
       [](const ModelCopy& model) {
         std::fstream file(model / "model.safetensors",
                           std::ios::in | std::ios::out | std::ios::binary);
         file.write("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x7F", 8);
       }},
      {"no weights", "safetensors",
       [](const ModelCopy& model) { fs::remove(model / "model.safetensors"); }},
      {"no config", "config.json",
       [](const ModelCopy& model) { fs::remove(model / "config.json"); }},
      {"config is no JSON", "config.json",
       [](const ModelCopy& model) { std::ofstream(model / "config.json") << "{\"a\": "; }},
      {"unsupported architecture", "Gemma",
       [](const ModelCopy& model) {
         model.Change("config.json", [](nlohmann::json& config) {
           config["architectures"] = {"GemmaForCausalLM"};
           config["model_type"] = "gemma";
         });
       }},
      {"other shapes than the config's", "model.safetensors",
       [](const ModelCopy& model) {
         model.Change("config.json", [](nlohmann::json& config) {
           config["intermediate_size"] = config["intermediate_size"].get<int>() + 64;
         });
       }},
      {"no tokenizer", "tokenizer.json",
       [](const ModelCopy& model) { fs::remove(model / "tokenizer.json"); }},
      {"tokenizer with ids beyond the model", "tokenizer",
       [](const ModelCopy& model) {
         model.Change("tokenizer.json", [](nlohmann::json& tokenizer) {
           int id = 0;
           for (const auto& token : tokenizer["added_tokens"]) {
             id = std::max(id, token["id"].get<int>());
           }
           for (int i = 0; i < 2000; ++i) {
             nlohmann::json token = tokenizer["added_tokens"].back();
             token["id"] = ++id;
             token["content"] = "<extra_" + std::to_string(i) + ">";
             tokenizer["added_tokens"].push_back(token);
           }
         });
         model.Change("tokenizer_config.json",
                      [](nlohmann::json& config) { config["eos_token"] = "<extra_1999>"; });
       }},
  };
  for (const Case& one : cases) {
    const ModelCopy model;
    one.harm(model);
    const std::string word = LastWord({model.Option()});
    EXPECT_NE(word.find(one.named), std::string::npos) << one.what << ": " << word;
  }
}

constexpr char kLfsPointer[] =
    "version https://git-lfs.github.com/spec/v1\n"
    "oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n";

TEST(WorkerOptionsTest, WhatIsThereInsteadOfACheckpointIsSaid) {
  for (const char* file : {"config.json", "tokenizer.json", "model.safetensors"}) {
    const ModelCopy model;
    model.Write(file, kLfsPointer);
    const std::string word = LastWord({model.Option()});
    EXPECT_NE(word.find(file), std::string::npos) << word;
    EXPECT_NE(word.find("Git LFS pointer"), std::string::npos) << word;
  }
  const ModelCopy adapter;
  for (const char* file : {"config.json", "tokenizer.json", "model.safetensors"}) {
    fs::remove(adapter / file);
  }
  adapter.Write("adapter_config.json", "{}");
  EXPECT_NE(LastWord({adapter.Option()}).find("merge it into its base model"), std::string::npos);
}

// As save_pretrained leaves a checkpoint after a training script that added a padding token which
// the model has no row for.
TEST(WorkerOptionsTest, APaddingTokenPastTheRowsIsRefusedOnlyWhereItIsUsed) {
  const ModelCopy model;
  model.Change("tokenizer.json", [](nlohmann::json& tokenizer) {
    tokenizer["truncation"] = {
        {"direction", "Right"}, {"max_length", 8}, {"strategy", "LongestFirst"}, {"stride", 0}};
  });
  model.Change("config.json", [](nlohmann::json& config) { config["pad_token_id"] = 640; });
  model.Change("tokenizer_config.json", [](nlohmann::json& config) {
    config["additional_special_tokens"] = nlohmann::json::array();
    for (int i = 0; i < 30; ++i) {
      config["additional_special_tokens"].push_back("<extra_" + std::to_string(i) + ">");
    }
  });
  WorkerProcess worker({model.Option()});
  ASSERT_TRUE(worker.listening());
  WorkerProcess original({std::string("--model=") + kTinyModel});
  v1::GenerateRequest request = AskGreedily("What is 27+48?");
  EXPECT_EQ(worker.Generate(request).ids, original.Generate(request).ids);
  request.mutable_prompt()->set_text("a<extra_29>");
  const Generation refused = worker.Generate(request);
  EXPECT_EQ(refused.status.code(), absl::StatusCode::kInvalidArgument) << refused.status;
  EXPECT_NE(refused.status.message().find("has no row in the model"), std::string::npos)
      << refused.status;
  EXPECT_NE(LastWord({model.Option(), "--strict_checkpoint"}).find("--strict_checkpoint"),
            std::string::npos);
}

TEST(WorkerOptionsTest, WrongOptionsEndInOneLineThatNamesThem) {
  const std::string model = std::string("--model=") + kTinyModel;
  EXPECT_NE(LastWord({}).find("--model"), std::string::npos);
  EXPECT_NE(LastWord({model, "--colour=red"}).find("--colour"), std::string::npos);
  EXPECT_NE(LastWord({model, "--quantization=awq"}).find("awq"), std::string::npos);
  EXPECT_NE(LastWord({model, "--dtype=float16"}).find("float16"), std::string::npos);
  EXPECT_NE(LastWord({model, "--max-num-seqs=-1"}).find("max_num_seqs"), std::string::npos);
  EXPECT_NE(LastWord({model, "--max_model_len=99999999"}).find("99999999"), std::string::npos);
  LastWord({model, "--tensor_parallel_size=3"});
}

TEST(WorkerOptionsTest, TokenizeNeedsOnlyTheTokenizer) {
  const ModelCopy model;
  fs::remove(model / "model.safetensors");
  fs::remove(model / "config.json");
  const std::string lines = "{\"text\": \"What is <think>\"}\n{\"text\": \"\"}\n";
  Process plain({kWorker, "--tokenize", model.Option()}, lines);
  ASSERT_EQ(plain.Wait(), 0) << plain.error();
  Process user({kWorker, "--tokenize", "--as-user-text", model.Option()}, lines);
  ASSERT_EQ(user.Wait(), 0) << user.error();
  const auto first_ids = [](const Process& process) {
    return nlohmann::json::parse(process.output().substr(0, process.output().find('\n')))["ids"];
  };
  EXPECT_LT(first_ids(plain).size(), first_ids(user).size());
  EXPECT_NE(plain.output().find("{\"ids\": []}"), std::string::npos) << plain.output();
}

TEST(WorkerOptionsTest, CheckConfigServesNothing) {
  Process process({kWorker, "--check_config", std::string("--model=") + kTinyModel});
  EXPECT_EQ(process.Wait(), 0) << process.error();
  EXPECT_NE(process.output().find("tiny-r1: Qwen2ForCausalLM"), std::string::npos)
      << process.output();
}

TEST(WorkerOptionsTest, RandomWeightsNeedOnlyConfigAndTokenizer) {
  const ModelCopy model;
  fs::remove(model / "model.safetensors");
  WorkerProcess worker({model.Option(), "--random_weights", "--seed=5"});
  ASSERT_TRUE(worker.listening());
  v1::GenerateRequest request = Ask("What is 1+1?", 3);
  request.set_max_tokens(20);
  request.set_ignore_eos(true);
  const Generation all = worker.Generate(request);
  EXPECT_TRUE(all.status.ok()) << all.status;
  EXPECT_EQ(all.ids.size(), 20U);
}

// The first layers of a shape with latent attention and experts.
TEST(WorkerOptionsTest, ADeepseekV3IsServed) {
  const ModelCopy model;
  model.Change("config.json", [](nlohmann::json& config) {
    config.erase("architectures");
    config.update({{"model_type", "deepseek_v3"},
                   {"num_hidden_layers", 61},
                   {"num_key_value_heads", config["num_attention_heads"]},
                   {"q_lora_rank", 64},
                   {"kv_lora_rank", 64},
                   {"qk_nope_head_dim", 32},
                   {"qk_rope_head_dim", 16},
                   {"v_head_dim", 32},
                   {"first_k_dense_replace", 1},
                   {"n_routed_experts", 16},
                   {"num_experts_per_tok", 4},
                   {"n_group", 4},
                   {"topk_group", 2},
                   {"n_shared_experts", 1},
                   {"moe_intermediate_size", 64},
                   {"routed_scaling_factor", 2.5}});
  });
  WorkerProcess worker({model.Option(), "--random_weights", "--num_layers=3"});
  ASSERT_TRUE(worker.listening());
  v1::GenerateRequest request = Ask("What is 1+1?", 3);
  request.set_max_tokens(20);
  request.set_ignore_eos(true);
  const Generation all = worker.Generate(request);
  EXPECT_TRUE(all.status.ok()) << all.status;
  EXPECT_EQ(all.ids.size(), 20U);
  EXPECT_EQ(worker.Generate(request).ids, all.ids) << "again, its prompt known by now";
  EXPECT_EQ(LastWord({model.Option(), "--num_layers=3"}),
            "thinkwire-worker: num_layers is only for random_weights: a model without some of its "
            "layers is another\n");
}

}  // namespace
}  // namespace thinkwire::integration
