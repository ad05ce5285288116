#include "router/config.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "common/utf8.h"

namespace thinkwire::router {
namespace {

TEST(ParseConfig, ReadsEverything) {
  const auto config = ParseConfig(R"(
# Small first: short prompts go there.
variants:
  - name: qwen-1.5b
    workers: ["127.0.0.1:50061", "[::1]:50062"]
    max_prompt_bytes: 2000
    escalate_to: qwen-32b
    reasoning_field: inline
  - name: qwen-32b
    aliases: [large, "my org/large"]
    workers: ["gpu.example.org:50061"]
    tasks: [math, code]
    require_fingerprint: 0123abcd
    quality: {math: 0.9}
    cost_per_million_tokens: 0.4
    context_tokens: 65536
    reasoning_tokens: {math: {p50: 4000, p90: 9000}}
)",
                                  "router.yaml");
  ASSERT_TRUE(config.ok()) << config.status();
  ASSERT_EQ(config->variants.size(), 2u);
  EXPECT_EQ(config->variants[0].name, "qwen-1.5b");
  EXPECT_EQ(config->variants[0].workers,
            (std::vector<std::string>{"127.0.0.1:50061", "[::1]:50062"}));
  EXPECT_EQ(config->variants[0].max_prompt_bytes, 2000);
  EXPECT_DOUBLE_EQ(config->variants[0].traits.quality[Task::kMath], 0.289);
  EXPECT_DOUBLE_EQ(config->variants[1].traits.quality[Task::kMath], 0.9);
  EXPECT_NEAR(config->variants[1].traits.quality[Task::kCode], (0.572 + 0.842) / 2, 1e-3);
  EXPECT_DOUBLE_EQ(config->variants[1].traits.cost_per_million, 0.4);
  EXPECT_DOUBLE_EQ(config->variants[1].traits.reasoning[Task::kMath].p90, 9000);
  EXPECT_EQ(config->variants[0].traits.context_tokens, 131'072);
  EXPECT_EQ(config->variants[1].traits.context_tokens, 65'536);
  EXPECT_EQ(config->variants[1].aliases, (std::vector<std::string>{"large", "my org/large"}));
  EXPECT_EQ(config->variants[1].tasks, (std::vector<Task>{Task::kMath, Task::kCode}));
  EXPECT_EQ(config->variants[1].max_prompt_bytes, 0);
  EXPECT_EQ(config->variants[0].escalate_to, "qwen-32b");
  EXPECT_EQ(config->variants[1].escalate_to, "");
  EXPECT_EQ(config->variants[0].reasoning_field, "inline");
  EXPECT_EQ(config->variants[1].reasoning_field, "");
  EXPECT_EQ(config->variants[0].require_fingerprint, "");
  EXPECT_EQ(config->variants[1].require_fingerprint, "0123abcd");
}

TEST(ParseConfig, RefusesWithPlaceAndWhatIsAllowed) {
  const std::string v = "variants: [{name: a, workers: ['h:1'], ";
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "r:1: the configuration must have: variants"},
      {"variants: []", "r:1: variants must be a list of 1 to 64"},
      {"variants: 7", "r:1: variants must be a list of 1 to 64"},
      {"\n\nvariant: []", "r:3: unknown key 'variant' in the configuration; allowed: variants"},
      {"variants: [7]",
       "r:1: a variant must have: name, aliases, workers, tasks, max_prompt_bytes, "
       "require_fingerprint, escalate_to, reasoning_field, quality, cost_per_million_tokens, "
       "context_tokens, reasoning_tokens"},
      {v + "wokers: []}]",
       "r:1: unknown key 'wokers' in a variant; allowed: name, aliases, workers, tasks, "
       "max_prompt_bytes, require_fingerprint, escalate_to, reasoning_field, quality, "
       "cost_per_million_tokens, context_tokens, reasoning_tokens"},
      {v + "quality: 1}]",
       "r:1: quality must be a map from tasks: general, math, code, science, writing, extraction"},
      {v + "quality: {cooking: 1}}]",
       "r:1: quality has an unknown task; allowed: general, math, code, science, writing, "
       "extraction"},
      {v + "quality: {math: 1.1}}]", "r:1: quality must be a number from 0 to 1"},
      {v + "quality: {math: nan}}]", "r:1: quality must be a number from 0 to 1"},
      {v + "cost_per_million_tokens: -1}]",
       "r:1: cost_per_million_tokens must be a number from 0 to 1000000000"},
      {v + "context_tokens: 1}]", "r:1: context_tokens must be a whole number from 2 to 1048576"},
      {v + "context_tokens: many}]",
       "r:1: context_tokens must be a whole number from 2 to 1048576"},
      {v + "reasoning_tokens: {math: {p50: 10}}}]",
       "r:1: reasoning_tokens of a task needs p50 and p90"},
      {v + "reasoning_tokens: {math: {p50: 10, p90: 9}}}]",
       "r:1: p90 must be a number from 10 to 1048576"},
      {v + "reasoning_tokens: {math: {p50: 0, p90: 9}}}]",
       "r:1: p50 must be a number from 1 to 1048576"},
      {v + "require_fingerprint: 'a b'}]",
       "r:1: require_fingerprint must be one word of 1 to 256 printable characters"},
      {v + "require_fingerprint: ''}]",
       "r:1: require_fingerprint must be one word of 1 to 256 printable characters"},
      {v + "name: b}]", "r:1: key 'name' twice in a variant"},
      {v + "tasks: [cooking]}]",
       "r:1: unknown task 'cooking'; allowed: general, math, code, science, writing, extraction"},
      {v + "tasks: math}]", "r:1: tasks must be a list"},
      {v + "max_prompt_bytes: -1}]", "r:1: max_prompt_bytes must be a whole number of 0 or more"},
      {v + "aliases: [[]]}]", "r:1: aliases must be a list of words"},
      {v + "aliases: ['x*']}]", "r:1: alias 'x*' must have at most 128 bytes and no '*'"},
      {v + "aliases: [A]}]", "r: the name 'a' is given twice"},
      {v + "aliases: ['\xE5p', '\xE5p']}]", "r: the name '\xEF\xBF\xBDp' is given twice"},
      {"variants: [{workers: ['h:1']}]", "r:1: a variant needs a name"},
      {"variants: [{name: 'a b', workers: ['h:1']}]",
       "r:1: name 'a b' must be 1 to 64 of letters, digits, '.', '_', '-'"},
      {"variants: [{name: a}]", "r:1: variant a needs 1 to 256 workers"},
      {"variants: [{name: a, workers: [h]}]", "r:1: worker 'h' is not host:port"},
      {"variants: [{name: a, workers: ['h:0']}]", "r:1: worker 'h:0' is not host:port"},
      {"variants: [{name: a, workers: ['h:99999']}]", "r:1: worker 'h:99999' is not host:port"},
      {v + "}, {name: b, workers: ['h:1']}]", "r: the worker h:1 is given twice"},
      {v + "}, {name: b, workers: ['H:01']}]", "r: the worker H:01 is given twice, first as h:1"},
      {"variants: [{name: a, workers: ['localhost:1', '127.0.0.1:1']}]",
       "r: the worker 127.0.0.1:1 is given twice, first as localhost:1"},
      {v + "}, {name: A, workers: ['h:2']}]", "r: the name 'A' is given twice"},
      {v + "reasoning_field: thoughts}]",
       "r:1: reasoning_field must be one of both, reasoning_content, reasoning, inline"},
      {v + "reasoning_field: [inline]}]",
       "r:1: reasoning_field must be one of both, reasoning_content, reasoning, inline"},
      {v + "escalate_to: [b]}]", "r:1: escalate_to must be the name of a variant"},
      {v + "escalate_to: b}]", "r: variant a: escalate_to 'b' is no variant's name"},
      {v + "aliases: [b], escalate_to: b}]", "r: variant a: escalate_to 'b' is no variant's name"},
      {v + "escalate_to: a}]", "r: variant a: escalate_to leads in a circle"},
  };
  for (const auto& [yaml, message] : cases) {
    const auto config = ParseConfig(yaml, "r");
    EXPECT_EQ(config.status().code(), absl::StatusCode::kInvalidArgument) << yaml;
    EXPECT_EQ(config.status().message(), message) << yaml;
  }
}

TEST(ParseConfig, WordsOfTheFileKeepTheMessageToOneLine) {
  for (const std::string& key : {std::string("\"a\\nb\": 1"), std::string(100000, 'k') + ": 1"}) {
    const auto config = ParseConfig(key, "r");
    ASSERT_FALSE(config.ok());
    EXPECT_EQ(config.status().message().find('\n'), std::string::npos);
    EXPECT_LE(config.status().message().size(), 600U);
  }
  EXPECT_FALSE(ParseConfig("variants: [{name: a, workers: [\"h\\n:1\"]}]", "r").ok());
  std::string alias = "a";
  for (int i = 0; i < 600; ++i) alias += "\u00e9";
  const auto config =
      ParseConfig("variants: [{name: a, workers: ['h:1'], aliases: ['" + alias + "']}]", "r");
  EXPECT_TRUE(IsValidUtf8(std::string(config.status().message())));
}

TEST(ParseConfig, BrokenYamlIsAnErrorWithALine) {
  const auto config = ParseConfig("variants:\n  - name: [", "router.yaml");
  EXPECT_EQ(config.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(config.status().message().find("router.yaml:"), 0u) << config.status();
}

TEST(ParseConfig, NestingAliasesAndManyOfAKindAreBounded) {
  const auto why = [](const std::string& yaml) {
    return std::string(ParseConfig(yaml, "r").status().message());
  };
  EXPECT_EQ(why(std::string(100'000, '[')), "r:1: nests too deep");
  EXPECT_EQ(why("variants: &a [*a]"),
            "r:1: a variant must have: name, aliases, workers, tasks, max_prompt_bytes, "
            "require_fingerprint, escalate_to, reasoning_field, quality, "
            "cost_per_million_tokens, context_tokens, reasoning_tokens");
  std::string bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n";
  for (char c = 'b'; c <= 'z'; ++c) {
    const std::string before(1, static_cast<char>(c - 1));
    bomb += std::string(1, c) + ": &" + c + " [";
    for (int i = 0; i < 10; ++i) bomb += "*" + before + ", ";
    bomb += "]\n";
  }
  EXPECT_EQ(why(bomb), "r:1: unknown key 'a' in the configuration; allowed: variants");
  std::string names;
  for (int i = 0; i < 65; ++i) names += "n" + std::to_string(i) + ", ";
  EXPECT_EQ(why("variants: [{name: a, workers: ['h:1'], aliases: [" + names + "]}]"),
            "r:1: variant a has more than 64 aliases");
  std::string variants = "variants:\n";
  for (int v = 0; v < 5; ++v) {
    variants += "- {name: v" + std::to_string(v) + ", workers: [";
    for (int w = 0; w < 205; ++w) {
      variants += "'h" + std::to_string(v) + ":" + std::to_string(w + 1) + "', ";
    }
    variants += "]}\n";
  }
  EXPECT_EQ(why(variants), "r:2: 1025 workers in all; at most 1024");
}

TEST(LoadConfig, ReadsNothingButARegularFileOfBoundedSize) {
  EXPECT_EQ(LoadConfig("/dev/zero").status(),
            absl::InvalidArgumentError("/dev/zero: not a regular file"));
  const std::string path = testing::TempDir() + "config_test-" + std::to_string(getpid()) + ".yaml";
  std::ofstream(path) << std::string((1 << 20) + 1, '#');
  EXPECT_EQ(LoadConfig(path).status(),
            absl::InvalidArgumentError(path + ": 1048577 bytes; at most 1048576 are read"));
  std::filesystem::remove(path);
}

TEST(LoadConfig, NamesTheFileThatIsMissing) {
  EXPECT_EQ(LoadConfig("/nowhere/router.yaml").status(),
            absl::NotFoundError("/nowhere/router.yaml: no such file"));
}

TEST(ParseArguments, ReadsOptionsAndChecksThem) {
  const auto parse = [](std::vector<const char*> arguments) { return ParseArguments(arguments); };
  const auto options = parse({"--config=r.yaml", "--listen", "0.0.0.0:1", "--insecure-listen",
                              "--metrics-listen=", "--check-config"});
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->config, "r.yaml");
  EXPECT_EQ(options->listen, "0.0.0.0:1");
  EXPECT_EQ(options->metrics_listen, "");
  EXPECT_TRUE(options->check_config);

  EXPECT_EQ(parse({}).status().message(), "--config is missing: the YAML file of variants");
  EXPECT_TRUE(parse({"--help"}).ok());
  EXPECT_FALSE(parse({"--config=r", "--listen="}).ok());
  EXPECT_FALSE(parse({"--config=r", "--listen=0.0.0.0:1"}).ok());
  EXPECT_TRUE(parse({"--config=r", "--metrics_listen=0.0.0.0:1"}).ok());  // it shows no secret
  EXPECT_FALSE(parse({"--config=r", "--drain_timeout_s=-1"}).ok());
  EXPECT_FALSE(parse({"--config=r", "--max_connections=0"}).ok());
  EXPECT_TRUE(parse({"--config=r", "--cache_salt_key_file=k"}).ok());
  EXPECT_EQ(parse({"--config=r", "--cache_salt_key_file=k", "--share_prefixes"}).status().message(),
            "--share_prefixes and --cache_salt_key_file exclude each other");
  EXPECT_EQ(parse({"--config=r", "serve"}).status().message(), "'serve' is not an option");
}

TEST(ParseArguments, TheHelpPageNamesEveryOption) {
  for (const char* name : {"--config", "--listen=127.0.0.1:50051",
                           "--metrics_listen=127.0.0.1:9401", "--check_config=false"}) {
    EXPECT_NE(Usage().find(name), std::string::npos) << name;
  }
}

}  // namespace
}  // namespace thinkwire::router
