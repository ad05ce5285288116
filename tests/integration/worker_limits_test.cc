// Files and options beyond every limit: a worker refuses them in one line, --check_config refuses
// whatever serving would, and what it accepts at its limits is served.

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/integration/model_copy.h"
#include "tests/integration/process.h"
#include "tests/integration/programs.h"
#include "tests/integration/worker_process.h"

namespace thinkwire::integration {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr int kManyLevels = 100'000;

std::string LastWord(const std::vector<std::string>& options) {
  return LastWordOf(kWorker, "thinkwire-worker", options);
}

std::string TinyModel() { return absl::StrCat("--model=", kTinyModel); }

constexpr char kIndex[] = "model.safetensors.index.json";

// A whole file of weights would be taken before an index, which nobody reads then.
void LeaveOnlyTheIndex(const ModelCopy& model) { fs::remove(model / "model.safetensors"); }

void ExpectNamed(const std::string& error, const std::string& named) {
  EXPECT_NE(error.find(named), std::string::npos) << error << " lacks " << named;
}

// A safetensors file of this header, without data.
std::string HeaderAlone(const std::string& header) {
  std::string file(8, '\0');
  const std::uint64_t size = header.size();
  std::memcpy(file.data(), &size, sizeof(size));
  return file + header;
}

// Makes the tokenizer cut texts by these patterns, one after another.
void SplitBy(const std::vector<std::string>& patterns, const ModelCopy& model) {
  std::string steps;
  for (const std::string& pattern : patterns) {
    absl::StrAppend(&steps, R"({"type": "Split", "behavior": "Isolated", "pattern": {"Regex": ")",
                    pattern, "\"}}, ");
  }
  const std::string byte_level =
      R"({"type": "ByteLevel", "add_prefix_space": false, "use_regex": false})";
  model.Change("tokenizer.json", [&](json& tokenizer) {
    tokenizer["pre_tokenizer"] = json::parse(
        absl::StrCat(R"({"type": "Sequence", "pretokenizers": [)", steps, byte_level, "]}"));
  });
}

TEST(WorkerLimitsTest, NestedFilesAreRefusedWhereverTheyAreRead) {
  const std::string nested = std::string(kManyLevels, '[') + std::string(kManyLevels, ']');
  for (const char* file : {"tokenizer.json", "tokenizer_config.json", "config.json",
                           "generation_config.json", kIndex}) {
    const ModelCopy model;
    if (file == std::string(kIndex)) LeaveOnlyTheIndex(model);
    model.Write(file, nested);
    ExpectNamed(LastWord({model.Option()}), absl::StrCat(file, ": nests deeper than 64 levels"));
  }
  const ModelCopy model;
  model.Write("tokenizer.json", absl::StrCat("{\"pre_tokenizer\": ", nested, "}"));
  ExpectNamed(LastWord({model.Option(), "--tokenize"}), "nests deeper than 64 levels");
  const ModelCopy other;
  std::string objects;
  for (int i = 0; i < kManyLevels; ++i) objects += "{\"a\":";
  other.Write("model.safetensors", HeaderAlone(objects));
  ExpectNamed(LastWord({other.Option()}), "header: nests deeper than 64 levels");
}

TEST(WorkerLimitsTest, PatternsAreFewAndShortAndSoIsWhatIsSaidOfThem) {
  const ModelCopy model;
  SplitBy(std::vector<std::string>(17, "a"), model);
  ExpectNamed(LastWord({model.Option()}), "17 steps of Split; at most 16");
  SplitBy(std::vector<std::string>(kManyLevels, "a"), model);
  ExpectNamed(LastWord({model.Option(), "--tokenize"}), "100000 steps of Split; at most 16");
  SplitBy({"(" + std::string(1'000'000, 'a')}, model);
  ExpectNamed(LastWord({model.Option()}), "1000001 bytes; at most 16384");
  SplitBy({"(" + std::string(10'000, 'a')}, model);
  const std::string error = LastWord({model.Option()});
  ExpectNamed(error, "does not compile: missing closing parenthesis");
  EXPECT_LT(error.size(), 400U) << error;
}

TEST(WorkerLimitsTest, WhatIsNoRegularFileIsNeitherReadNorWaitedFor) {
  for (const char* file : {"tokenizer.json", "config.json", "generation_config.json",
                           "tokenizer_config.json", "model.safetensors", kIndex}) {
    const ModelCopy model;
    if (file == std::string(kIndex)) LeaveOnlyTheIndex(model);
    fs::remove(model / file);
    fs::create_symlink("/dev/zero", model / file);
    ExpectNamed(LastWord({model.Option()}), absl::StrCat(file, ": not a regular file"));
    fs::remove(model / file);
    ASSERT_EQ(mkfifo((model / file).c_str(), 0600), 0);
    ExpectNamed(LastWord({model.Option()}), absl::StrCat(file, ": not a regular file"));
  }
}

TEST(WorkerLimitsTest, FilesOfAnySizeAreRefusedUnread) {
  for (const auto& [file, most] :
       std::vector<std::pair<const char*, std::string>>{{"tokenizer.json", "67108864"},
                                                        {"tokenizer_config.json", "4194304"},
                                                        {"config.json", "1048576"},
                                                        {"generation_config.json", "1048576"},
                                                        {kIndex, "33554432"}}) {
    const ModelCopy model;
    if (file == std::string(kIndex)) LeaveOnlyTheIndex(model);
    model.Write(file, "{}");
    fs::resize_file(model / file, std::uintmax_t{1} << 40);  // sparse
    ExpectNamed(LastWord({model.Option()}),
                absl::StrCat(file, ": 1099511627776 bytes; at most ", most, " are read"));
  }
  Process process({kWorker, "--tokenize", TinyModel()}, std::string(9 << 20, 'a'));
  EXPECT_EQ(process.Wait(), 1);
  EXPECT_EQ(process.error(), "thinkwire-worker: line 1: more than 8388608 bytes\n");
}

// At a cost of every tensor for every other this would take many minutes.
TEST(WorkerLimitsTest, ManyTensorsAreReadInTime) {
  constexpr int kTensors = 200'000;
  std::string header;
  for (int i = 0; i < kTensors; ++i) {
    absl::StrAppend(&header, i == 0 ? "{" : ", ", "\"t", i,
                    "\": {\"dtype\": \"BF16\", \"shape\": [1],", " \"data_offsets\": [", 2 * i,
                    ", ", 2 * i + 2, "]}");
  }
  const ModelCopy model;
  model.Write("model.safetensors",
              HeaderAlone(header + "}") + std::string(std::size_t{2} * kTensors, '\0'));
  ExpectNamed(LastWord({model.Option()}), "has no tensor \"model.embed_tokens.weight\"");
}

TEST(WorkerLimitsTest, LongNamesComeBackCut) {
  const std::string long_name(1'000'000, 'n');
  const ModelCopy model;
  model.Write("model.safetensors", HeaderAlone(absl::StrCat("{\"", long_name, "\": 1}")));
  ExpectNamed(LastWord({model.Option()}), "...\": not an object");
  model.Change("tokenizer.json",
               [&](json& tokenizer) { tokenizer["model"]["vocab"][long_name] = -1; });
  ExpectNamed(LastWord({model.Option()}), "is not an id from 0 to");
  const std::string at_most(100'000, 'n');  // of one argument, as the kernel has it
  ExpectNamed(LastWord({TinyModel(), absl::StrCat("--device=", at_most)}), "supported: auto, cpu");
  LastWord({absl::StrCat("--", at_most)});
  LastWord({absl::StrCat("--model=", at_most)});
  LastWord({"--model=a\nb"});
}

// Each refusal is the same for --check_config as for serving.
TEST(WorkerLimitsTest, CheckConfigRefusesWhatServingWould) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
      {{"--max_model_len=1"}, "max_model_len is 1; allowed: 2 to 4096"},
      {{"--max_model_len=4097"}, "max_model_len is 4097; allowed: 2 to 4096"},
      {{"--max_num_seqs=513"}, "max_num_batched_tokens is 512; allowed: 513 to 65536"},
      {{"--block_size=1024"}, "--block_size: '1024' is not a whole number from 16 to 256"},
      {{"--block_size=24"}, "block_size is 24; allowed: multiples of 16"},
      {{"--kv_cache_memory_bytes=1"}, "hold no block of 16 tokens"},
      {{"--kv_cache_memory_bytes=9007199254740992"}, "kv_cache_memory_bytes does not fit"},
      {{"--kv_cache_memory_bytes=100000000000000", "--max_num_seqs=4096",
        "--max_num_batched_tokens=4096"},
       "kv_cache_memory_bytes does not fit"},
      {{"--tensor_parallel_size=3"}, "allowed: 1, 2, 4"},
      {{"--listen=x"}, "--listen: 'x' is not host:port"},
      {{"--listen=127.0.0.1:65536"}, "is not host:port"},
      {{"--listen=::1:80"}, "is not host:port"},
      {{"--metrics_listen=127.0.0.1"}, "--metrics_listen: '127.0.0.1' is not host:port"},
      {{"--served_model_name=a b"}, "served_model_name 'a b' is not 1 to 64 of"},
      {{"--served_model_name=\xff"}, "served_model_name"},
      {{absl::StrCat("--served_model_name=", std::string(65, 'n'))}, "served_model_name"},
  };
  for (auto [options, named] : cases) {
    options.push_back(TinyModel());
    ExpectNamed(LastWord(options), named);
    options.emplace_back("--check_config");
    ExpectNamed(LastWord(options), named);
  }
}

TEST(WorkerLimitsTest, ModelsBeyondWhatIsServedAreRefusedAtOnce) {
  const ModelCopy model;
  const auto refusal = [&](std::int64_t positions) {
    model.Change("config.json", [&](json& j) { j["max_position_embeddings"] = positions; });
    return LastWord({model.Option(), "--check_config"});
  };
  ExpectNamed(refusal(1), "max_position_embeddings is 1; supported: an integer from 2 to 16777216");
  ExpectNamed(refusal(16'777'217), "an integer from 2 to 16777216");
  ExpectNamed(refusal(16'777'216), "max_model_len is 16777216; allowed: 2 to 1048576");
  // Such a model is served with less.
  Process process({kWorker, model.Option(), "--check_config", "--max_model_len=4096"});
  EXPECT_EQ(process.Wait(), 0) << process.error();
}

// The one request that the smallest of contexts holds.
v1::GenerateRequest OneToken() {
  v1::GenerateRequest request;
  request.mutable_prompt()->set_text("1");
  request.set_max_tokens(1);
  request.set_seed(1);
  request.set_ignore_eos(true);
  return request;
}

TEST(WorkerLimitsTest, WhatCheckConfigAcceptsIsServed) {
  const std::vector<std::vector<std::string>> corners = {
      {"--max_model_len=2"},
      {"--max_model_len=2", "--block_size=256", "--max_num_seqs=1", "--max_num_batched_tokens=1"},
      {"--kv_cache_memory_bytes=196608", "--max_queue=1"},  // one block
      {"--max_num_seqs=4096", "--max_num_batched_tokens=65536"},
      {"--tensor_parallel_size=4"},
      {"--text_threads=256", "--max_queue=1000000", "--max_connections=100000"},
      {"--step_timeout_s=2", "--drain_timeout_s=0", "--no_enable_prefix_caching"},
      {absl::StrCat("--served_model_name=", std::string(64, 'n'))},
  };
  for (const std::vector<std::string>& corner : corners) {
    std::vector<std::string> options = {TinyModel()};
    options.insert(options.end(), corner.begin(), corner.end());
    std::vector<std::string> check = {kWorker, "--check_config"};
    check.insert(check.end(), options.begin(), options.end());
    Process checked(check);
    EXPECT_EQ(checked.Wait(), 0) << checked.error();
    WorkerProcess worker(options);
    ASSERT_TRUE(worker.listening()) << corner.front();
    const Generation all = worker.Generate(OneToken());
    EXPECT_TRUE(all.status.ok()) << corner.front() << ": " << all.status;
    EXPECT_EQ(all.ids.size(), 1U);
  }
}

}  // namespace
}  // namespace thinkwire::integration
