#include "common/options.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace thinkwire {
namespace {

struct Values {
  std::string listen = "localhost:1";
  bool color = true;
  std::int32_t grace_s = 30;
  std::optional<std::uint64_t> seed;
  std::optional<float> temperature;
  std::optional<std::int32_t> max_tokens;

  absl::StatusOr<std::vector<std::string>> Parse(const std::vector<const char*>& arguments) {
    return ParseOptions(arguments, Options());
  }
  std::vector<Option> Options() {
    return {{"listen", &listen, "where"},         {"color", &color, "whether"},
            {"grace_s", &grace_s, "how long"},    {"seed", &seed, "which"},
            {"temperature", &temperature, "hot"}, {"max_tokens", &max_tokens, "how many"}};
  }
};

TEST(ParseOptions, TakesEverySpelling) {
  Values values;
  const auto rest =
      values.Parse({"--listen", "a:2", "what", "--grace-s=5", "--no-color",
                    "--seed=18446744073709551615", "--temperature", "0.5", "--", "--is", "this"});
  ASSERT_TRUE(rest.ok()) << rest.status();
  EXPECT_EQ(*rest, (std::vector<std::string>{"what", "--is", "this"}));
  EXPECT_EQ(values.listen, "a:2");
  EXPECT_FALSE(values.color);
  EXPECT_EQ(values.grace_s, 5);
  EXPECT_EQ(values.seed, 18446744073709551615U);
  EXPECT_EQ(values.temperature, 0.5F);
  EXPECT_EQ(values.max_tokens, std::nullopt);
}

TEST(ParseOptions, NamesTheOptionThatIsWrong) {
  const std::vector<std::pair<std::vector<const char*>, std::string>> cases = {
      {{"--colour"}, "unknown option --colour (see --help)"},
      {{"--nolisten"}, "unknown option --nolisten (see --help)"},
      {{"--no-color=true"}, "unknown option --no-color (see --help)"},
      {{"--listen"}, "--listen needs a value"},
      {{"--grace_s=soon"}, "--grace_s: 'soon' is not a whole number"},
      {{"--grace_s=3000000000"}, "--grace_s: '3000000000' is not a whole number"},
      {{"--seed=-1"}, "--seed: '-1' is not a whole number of 0 or more"},
      {{"--temperature=warm"}, "--temperature: 'warm' is not a number"},
      {{"--color=perhaps"}, "--color: 'perhaps' is not true or false"},
      {{"--seed=1", "--seed=2"}, "--seed is given twice"},
  };
  for (const auto& [arguments, message] : cases) {
    Values values;
    const auto rest = values.Parse(arguments);
    EXPECT_EQ(rest.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(rest.status().message(), message);
  }
}

// The same options where each takes only some values.
struct Limited {
  std::string device = "";
  std::int64_t bytes = 0;
  double share = 0.5;
  std::optional<std::int32_t> timeout_s;
  std::string secret = "x";

  std::vector<Option> Options() {
    return {{"device", &device, "where", OneOf("cpu|cuda")},
            {"bytes", &bytes, "how many", Between(16, 9e15)},
            {"share", &share, "of all", Between(0.05, 1)},
            {"timeout_s", &timeout_s, "how long", AtLeast(1)},
            {"secret", &secret, nullptr}};
  }
};

TEST(ParseOptions, TakesTheDefaultAndWhatIsAllowed) {
  Limited values;
  const std::vector<const char*> arguments = {"--device=", "--bytes=0", "--share=1",
                                              "--timeout_s=1", "--secret=y"};
  ASSERT_TRUE(ParseOptions(arguments, values.Options()).ok());
  EXPECT_EQ(values.share, 1);
  EXPECT_EQ(values.timeout_s, 1);
  EXPECT_EQ(values.secret, "y");
}

TEST(ParseOptions, SaysWhatIsAllowed) {
  const std::vector<std::pair<const char*, std::string>> cases = {
      {"--device=tpu", "--device: 'tpu' is not supported: cpu, cuda"},
      {"--bytes=15", "--bytes: '15' is not a whole number from 16 to 9000000000000000"},
      {"--share=nan", "--share: 'nan' is not a number from 0.05 to 1"},
      {"--timeout_s=0", "--timeout_s: '0' is not a whole number of 1 or more"},
  };
  for (const auto& [argument, message] : cases) {
    Limited values;
    const std::vector<const char*> arguments = {argument};
    EXPECT_EQ(ParseOptions(arguments, values.Options()).status().message(), message);
  }
}

TEST(DescribeOptions, ShowsWhatIsAllowedAndHidesWhatHasNoHelp) {
  Limited values;
  EXPECT_EQ(DescribeOptions(values.Options()),
            "  --device\n      where (cpu|cuda)\n"
            "  --bytes=0\n      how many [16..9000000000000000]\n"
            "  --share=0.5\n      of all [0.05..1]\n"
            "  --timeout_s\n      how long [1..]\n");
}

TEST(OptionValues, NamesEveryOption) {
  Limited values;
  EXPECT_EQ(OptionValues(values.Options()), "device= bytes=0 share=0.5 timeout_s= secret=x");
}

TEST(DescribeOptions, ShowsDefaults) {
  Values values;
  const std::string text = DescribeOptions(values.Options());
  EXPECT_NE(text.find("  --listen=localhost:1\n      where\n"), std::string::npos) << text;
  EXPECT_NE(text.find("  --seed\n      which\n"), std::string::npos) << text;
}

}  // namespace
}  // namespace thinkwire
