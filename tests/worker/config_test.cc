#include "worker/config.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <tuple>
#include <vector>

#include "worker/rank_span.h"

namespace thinkwire::worker {
namespace {

absl::StatusOr<WorkerConfig> Parse(std::vector<const char*> arguments) {
  return ParseArguments(arguments);
}

std::string ErrorOf(std::vector<const char*> arguments) {
  const auto config = Parse(std::move(arguments));
  EXPECT_EQ(config.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(config.status().message());
}

TEST(WorkerConfigTest, ReadsEveryKindOfValue) {
  const auto config =
      Parse({"--model=/m", "--max_num_seqs=3", "--kv_cache_memory_bytes", "5000000000",
             "--gpu_memory_utilization=0.5", "--gpu_memory_bytes=24e9", "--random_weights",
             "--num_layers=11", "--served_model_name=a b", "--enable-prefix-caching=false"});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->model, "/m");
  EXPECT_EQ(config->max_num_seqs, 3);
  EXPECT_EQ(config->kv_cache_memory_bytes, 5000000000);
  EXPECT_DOUBLE_EQ(config->gpu_memory_utilization, 0.5);
  EXPECT_DOUBLE_EQ(config->gpu_memory_bytes, 24'000'000'000);
  EXPECT_TRUE(config->random_weights);
  EXPECT_EQ(config->num_layers, 11);
  EXPECT_FALSE(config->enable_prefix_caching);
  EXPECT_EQ(config->served_model_name, "a b");
  EXPECT_EQ(config->max_queue, 1024);
}

TEST(WorkerConfigTest, DashesAndUnderscoresAreTheSame) {
  const auto config = Parse({"--max-num-seqs=3", "--max-num_batched-tokens", "7"});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->max_num_seqs, 3);
  EXPECT_EQ(config->max_num_batched_tokens, 7);
}

TEST(WorkerConfigTest, ValueMayHoldDashesAndEqualSigns) {
  const auto config = Parse({"--model=/a-b=c", "--served-model-name", "--x"});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->model, "/a-b=c");
  EXPECT_EQ(config->served_model_name, "--x");
}

TEST(WorkerConfigTest, TurnsBooleansOffBySeveralNames) {
  for (const char* argument : {"--no_enable_prefix_caching", "--no-enable-prefix-caching",
                               "--noenable_prefix_caching", "--enable_prefix_caching=false"}) {
    const auto config = Parse({argument});
    ASSERT_TRUE(config.ok()) << config.status();
    EXPECT_FALSE(config->enable_prefix_caching) << argument;
  }
  EXPECT_EQ(ErrorOf({"--no_model"}), "unknown option --no_model (see --help)");
}

// A file of options, for one test.
class ConfigFileTest : public testing::Test {
 protected:
  ~ConfigFileTest() override { std::remove(path_.c_str()); }
  void Write(const std::string& yaml) { std::ofstream(path_) << yaml; }
  std::string Error(const std::string& yaml) {
    Write(yaml);
    return ErrorOf({"--config", path_.c_str()});
  }

  const std::string path_ = testing::TempDir() + "worker-" + std::to_string(getpid()) + ".yaml";
};

TEST_F(ConfigFileTest, CommandLineWinsOverIt) {
  Write(
      "model: /m\nmax-num-seqs: 3\nmax_queue: 9\nenable_prefix_caching: false\n"
      "trusted_peers: [10.0.0.1, 10.1.0.0/16]\n");
  const auto config = Parse({"--max_queue=7", "--config", path_.c_str()});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->model, "/m");
  EXPECT_EQ(config->max_num_seqs, 3);
  EXPECT_EQ(config->max_queue, 7);
  EXPECT_FALSE(config->enable_prefix_caching);
  EXPECT_EQ(config->trusted_peers, "10.0.0.1,10.1.0.0/16");
}

TEST_F(ConfigFileTest, EnvironmentWinsOverIt) {
  Write("max_queue: 9\n");
  ASSERT_EQ(setenv("THINKWIRE_WORKER_MAX_QUEUE", "8", 1), 0);
  const auto config = Parse({"--config", path_.c_str()});
  unsetenv("THINKWIRE_WORKER_MAX_QUEUE");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->max_queue, 8);
}

TEST_F(ConfigFileTest, RefusesByNameAndPlace) {
  EXPECT_EQ(Error("modell: x\n"), path_ + ": unknown option --modell (see --help)");
  EXPECT_EQ(Error("max_queue: many\n"),
            path_ + ": --max_queue: 'many' is not a whole number from 1 to 1000000");
  EXPECT_EQ(Error("model: a\nmodel: b\n"), path_ + ":2: key 'model' twice");
  EXPECT_EQ(Error("\nconfig: other.yaml\n"), path_ + ":2: config is for the command line alone");
  EXPECT_EQ(Error("model:\n"),
            path_ + ":1: model must have a value: a word, a number, or a list of words");
  EXPECT_EQ(Error("- model\n"), path_ + ":1: must be a map from options to their values");
  EXPECT_EQ(Error("trusted_peers: [{a: b}]\n"),
            path_ + ":1: trusted_peers must be a list of words");
  EXPECT_NE(Error("model: [\n").find(path_ + ":2: "), std::string::npos);
  EXPECT_EQ(Parse({"--config=/no/such.yaml"}).status().message(), "/no/such.yaml: no such file");
}

TEST(WorkerConfigTest, TwoDashesEndTheOptions) {
  const auto config = Parse({"--model=/m", "--"});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->model, "/m");
}

TEST(WorkerConfigTest, RefusesByName) {
  EXPECT_EQ(ErrorOf({"--modell=x"}), "unknown option --modell (see --help)");
  EXPECT_EQ(ErrorOf({"model"}), "'model' is not an option");
  EXPECT_EQ(ErrorOf({"--", "--model=a"}), "'--model=a' is not an option");
  EXPECT_EQ(ErrorOf({"--model"}), "--model needs a value");
  EXPECT_EQ(ErrorOf({"--model=a", "--model=b"}), "--model is given twice");
  EXPECT_EQ(ErrorOf({"--quantization=int4"}),
            "--quantization: 'int4' is not supported: auto, none, gguf, awq, gptq, "
            "compressed-tensors, fp8, bitsandbytes, q4_k_m, q8_0");
  EXPECT_EQ(ErrorOf({"--random_weights=maybe"}), "--random_weights: 'maybe' is not true or false");
}

TEST(WorkerConfigTest, RefusesWhatIsOutOfRange) {
  EXPECT_EQ(ErrorOf({"--max_num_batched_tokens=-1"}),
            "--max_num_batched_tokens: '-1' is not a whole number from 0 to 65536");
  EXPECT_EQ(ErrorOf({"--block_size=1024"}),
            "--block_size: '1024' is not a whole number from 16 to 256");
  EXPECT_EQ(ErrorOf({"--max_model_len=1048577"}),
            "--max_model_len: '1048577' is not a whole number from 0 to 1048576");
  EXPECT_EQ(ErrorOf({"--max_queue=99999999999"}),
            "--max_queue: '99999999999' is not a whole number from 1 to 1000000");
  EXPECT_EQ(ErrorOf({"--gpu_memory_utilization=nan"}),
            "--gpu_memory_utilization: 'nan' is not a number from 0.05 to 1");
  EXPECT_EQ(ErrorOf({"--cpu_threads=2x"}),
            "--cpu_threads: '2x' is not a whole number from 0 to 1024");
}

TEST(WorkerConfigTest, ValidateWantsAModelAndNoContradiction) {
  WorkerConfig config;
  EXPECT_FALSE(Validate(config).ok());
  config.model = "/m";
  EXPECT_TRUE(Validate(config).ok());
  config.metrics_listen = "0.0.0.0:1";  // it shows no secret
  EXPECT_TRUE(Validate(config).ok());
  config.listen = "0.0.0.0:1";
  EXPECT_FALSE(Validate(config).ok());
  config.insecure_listen = true;
  EXPECT_TRUE(Validate(config).ok());
  config.as_user_text = true;
  EXPECT_FALSE(Validate(config).ok());
  config.tokenize = true;
  EXPECT_TRUE(Validate(config).ok());
  config.check_config = true;
  EXPECT_FALSE(Validate(config).ok());
}

WorkerConfig OfGroup(const std::string& ranks) {
  WorkerConfig config;
  config.model = "/m";
  config.tensor_parallel_size = 8;
  config.ranks = ranks;
  config.leader = "host:50071";
  config.group_token_file = "/token";
  return config;
}

TEST(WorkerConfigTest, RanksAreConsecutiveOnesOfTheGroup) {
  for (const auto& [ranks, first, count] :
       {std::tuple{"0", 0, 1}, {"0-3", 0, 4}, {"4-7", 4, 4}, {"7", 7, 1}}) {
    const auto span = RanksOf(OfGroup(ranks));
    ASSERT_TRUE(span.ok()) << span.status();
    EXPECT_EQ(span->first, first);
    EXPECT_EQ(span->count, count);
    EXPECT_TRUE(Validate(OfGroup(ranks)).ok()) << ranks;
    EXPECT_EQ(Follows(OfGroup(ranks)), first > 0);
  }
  for (const char* ranks : {"8", "3-2", "-1", "1-", "-", "a", "0-8", "1-2-3", "0-7", "1,2"}) {
    EXPECT_FALSE(Validate(OfGroup(ranks)).ok()) << ranks;
  }
}

TEST(WorkerConfigTest, TheOptionsOfAGroupBelongTogether) {
  WorkerConfig config = OfGroup("1");
  config.leader = "";
  EXPECT_FALSE(Validate(config).ok());
  config = OfGroup("1");
  config.group_token_file = "";
  EXPECT_FALSE(Validate(config).ok());
  config = OfGroup("1");
  config.check_config = true;
  EXPECT_FALSE(Validate(config).ok());
  config = OfGroup("");
  EXPECT_FALSE(Validate(config).ok());
  config = OfGroup("0");
  config.leader = ":0";  // the leader may listen anywhere
  EXPECT_TRUE(Validate(config).ok());
  config.ranks = "1";
  EXPECT_FALSE(Validate(config).ok());
}

TEST(WorkerConfigTest, ValidateWantsAddressesAndANameThatCanServe) {
  const auto why = [](auto change) {
    WorkerConfig config;
    config.model = "/m";
    change(config);
    return std::string(Validate(config).message());
  };
  EXPECT_EQ(why([](auto& c) { c.listen = ""; }), "--listen: '' is not host:port");
  EXPECT_EQ(why([](auto& c) { c.listen = "127.0.0.1:x"; }),
            "--listen: '127.0.0.1:x' is not host:port");
  EXPECT_EQ(why([](auto& c) { c.metrics_listen = "x"; }), "--metrics_listen: 'x' is not host:port");
  EXPECT_EQ(why([](auto& c) { c.metrics_listen = ""; }), "");
  EXPECT_EQ(why([](auto& c) { c.served_model_name = "a b"; }),
            "served_model_name 'a b' is not 1 to 64 of letters, digits, '.', '_', '-', by which a "
            "router knows it");
}

TEST(WorkerConfigTest, AFolderGivesTheNameWhereItCan) {
  const auto name = [](const char* model, const char* given = "") {
    WorkerConfig config;
    config.model = model;
    config.served_model_name = given;
    return ServedModelName(config);
  };
  EXPECT_EQ(*name("/models/tiny-r1"), "tiny-r1");
  EXPECT_EQ(*name("models/tiny-r1/"), "tiny-r1");
  EXPECT_EQ(*name("/models/qwen-7b-Q4_K_M.gguf"), "qwen-7b-Q4_K_M");
  EXPECT_EQ(*name("x-00001-of-00003.gguf"), "x");
  EXPECT_EQ(*name("/models/a b", "given"), "given");
  EXPECT_FALSE(name("/models/a b").ok());
  EXPECT_FALSE(name("/").ok());
}

TEST(WorkerConfigTest, UsageAndLogNameEveryOption) {
  const auto config = Parse({"--model=/m", "--tokenize"});
  ASSERT_TRUE(config.ok());
  testing::internal::CaptureStderr();
  LogSettings(*config);
  const std::string text = testing::internal::GetCapturedStderr();
  EXPECT_NE(text.find(R"("model":"/m")"), std::string::npos) << text;
  EXPECT_NE(text.find(R"("tokenize":true)"), std::string::npos) << text;
  for (const char* name : {"listen", "seed", "dtype", "cpu_threads", "log_level"}) {
    EXPECT_NE(text.find("\"" + std::string(name) + "\":"), std::string::npos) << name;
    EXPECT_NE(Usage().find(std::string("--") + name), std::string::npos) << name;
  }
}

TEST(WorkerConfigTest, ValidateWantsSomebodyToBeTrusted) {
  WorkerConfig config;
  config.model = "/m";
  config.trusted_peers_only = true;
  EXPECT_TRUE(Validate(config).ok());  // who is on this machine may call
  config.insecure_listen = true;
  config.listen = "0.0.0.0:1";
  EXPECT_EQ(Validate(config).message(),
            "--trusted_peers_only needs --trusted_peers: nobody else may call");
  config.trusted_peers = "10.0.0.7";
  EXPECT_TRUE(Validate(config).ok());
}

}  // namespace
}  // namespace thinkwire::worker
