#include "worker/hub/settings.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <string>

namespace thinkwire::worker::hub {
namespace {

absl::StatusOr<HubSettings> Read(const std::map<std::string, std::string>& variables) {
  return ReadHubSettings([&](const char* name) -> const char* {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
}

std::string ErrorOf(const std::map<std::string, std::string>& variables) {
  const auto settings = Read(variables);
  EXPECT_EQ(settings.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(settings.status().message());
}

TEST(ReadHubSettings, FindsTheCertificatesThatOtherClientsTrust) {
  std::map<std::string, std::string> variables = {{"HOME", "/"}};
  const auto ca = [&] { return Read(variables)->ca.string(); };
  EXPECT_EQ(ca(), "");
  variables["SSL_CERT_FILE"] = "/proc/self/stat";
  EXPECT_EQ(ca(), "/proc/self/stat");
  variables["CURL_CA_BUNDLE"] = "~/proc/self/maps";
  EXPECT_EQ(ca(), "//proc/self/maps");
  variables["REQUESTS_CA_BUNDLE"] = "/proc/self";
  EXPECT_EQ(ca(), "/proc/self") << "a folder";
  variables["REQUESTS_CA_BUNDLE"] = "/not/there";
  EXPECT_EQ(ErrorOf(variables), "REQUESTS_CA_BUNDLE '/not/there' is no file that is there");
}

TEST(ReadHubSettings, FindsTheCacheAsHuggingfaceHubDoes) {
  std::map<std::string, std::string> variables = {{"HOME", "/h"}};
  const auto cache = [&] { return Read(variables)->cache.string(); };
  EXPECT_EQ(cache(), "/h/.cache/huggingface/hub");
  variables["XDG_CACHE_HOME"] = "/x";
  EXPECT_EQ(cache(), "/x/huggingface/hub");
  variables["HF_HOME"] = "~/hf";
  EXPECT_EQ(cache(), "/h/hf/hub");
  variables["HUGGINGFACE_HUB_CACHE"] = "/old";
  EXPECT_EQ(cache(), "/old");
  variables["HF_HUB_CACHE"] = "~/new";
  EXPECT_EQ(cache(), "/h/new");
  EXPECT_EQ(ErrorOf({}), "nobody says where models are kept: set HF_HUB_CACHE, HF_HOME or HOME");
}

TEST(ReadHubSettings, ReadsTheEndpointAndWhetherToUseIt) {
  EXPECT_EQ(Read({{"HOME", "/h"}})->endpoint, "https://huggingface.co");
  EXPECT_FALSE(Read({{"HOME", "/h"}})->offline);
  EXPECT_EQ(Read({{"HOME", "/h"}, {"HF_ENDPOINT", "http://mirror:80//"}})->endpoint,
            "http://mirror:80");
  for (const char* variable : {"HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"}) {
    EXPECT_TRUE(Read({{"HOME", "/h"}, {variable, "Yes"}})->offline);
    EXPECT_FALSE(Read({{"HOME", "/h"}, {variable, "0"}})->offline);
  }
  EXPECT_FALSE(
      Read({{"HOME", "/h"}, {"HF_HUB_OFFLINE", "0"}, {"TRANSFORMERS_OFFLINE", "1"}})->offline);
  EXPECT_EQ(ErrorOf({{"HOME", "/h"}, {"HF_ENDPOINT", "file:///etc"}}),
            "HF_ENDPOINT 'file:///etc' is no http:// or https:// URL");
}

TEST(ReadHubSettings, TakesTheTokenFromTheEnvironmentOrItsFile) {
  const std::filesystem::path path =
      std::filesystem::path(testing::TempDir()) / ("hub-token-" + std::to_string(getpid()));
  std::ofstream(path) << "hf_file\n";
  std::map<std::string, std::string> variables = {{"HOME", "/h"}, {"HF_TOKEN_PATH", path.string()}};
  EXPECT_EQ(Read(variables)->token, "hf_file");
  variables["HF_TOKEN"] = " hf_word ";
  EXPECT_EQ(Read(variables)->token, "hf_word");
  variables["HF_TOKEN"] = "two words";
  EXPECT_EQ(ErrorOf(variables),
            "HF_TOKEN holds no token: one word of at most 4096 printable ASCII characters");
  EXPECT_EQ(Read({{"HOME", "/h"}, {"HF_TOKEN_PATH", "/no/such/file"}})->token, "");
}

}  // namespace
}  // namespace thinkwire::worker::hub
