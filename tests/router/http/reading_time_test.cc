// How long a body takes to be read: by its length, and no faster than that.

#include <gtest/gtest.h>

#include <algorithm>
#include <ctime>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "router/http/request_reader.h"

namespace thinkwire::router::http {
namespace {

constexpr int kTries = 7;
constexpr int kSmall = 500;  // elements
constexpr int kTimes = 8;    // as many in the large body
// A reader that looks back at all elements for each of them takes 64 times as long.
constexpr double kMostTimes = 3 * kTimes;

std::string Repeated(int number, const std::function<std::string(int)>& element) {
  std::string all;
  for (int i = 0; i < number; ++i) absl::StrAppend(&all, i > 0 ? "," : "", element(i));
  return all;
}

std::string List(int number, const std::string& element) {
  return absl::StrCat("[", Repeated(number, [&](int /*index*/) { return element; }), "]");
}

struct Kind {
  const char* what;
  absl::StatusOr<Asked> (*read)(std::string_view body, const ReaderOptions& options);
  std::string (*make)(int number);
};

const std::vector<Kind>& Kinds() {
  static const std::vector<Kind> kinds = {
      {"messages", ReadChatRequest,
       [](int number) {
         return absl::StrCat(R"({"model":"m","messages":)",
                             List(number, R"({"role":"user","content":"x"})"), "}");
       }},
      {"system messages, which become one", ReadChatRequest,
       [](int number) {
         return absl::StrCat(R"({"model":"m","messages":)",
                             List(number, R"({"role":"system","content":"x"})"), "}");
       }},
      {"parts of a message", ReadChatRequest,
       [](int number) {
         return absl::StrCat(R"({"model":"m","messages":[{"role":"user","content":)",
                             List(number, R"({"type":"text","text":"x"})"), "}]}");
       }},
      {"fields that nobody knows", ReadChatRequest,
       [](int number) {
         return absl::StrCat(
             R"({"model":"m","messages":[{"role":"user","content":"x"}],)",
             Repeated(number, [](int i) { return absl::StrCat("\"k", i, "\":[1]"); }), "}");
       }},
      {"characters that are written as escapes", ReadChatRequest,
       [](int number) {
         std::string text;
         for (int i = 0; i < 50 * number; ++i) text += "\\u6f22";
         return absl::StrCat(R"({"model":"m","messages":[{"role":"user","content":")", text,
                             "\"}]}");
       }},
      {"a schema", ReadChatRequest,
       [](int number) {
         const auto property = [](int i) { return absl::StrCat("\"p", i, R"(":{"type":"null"})"); };
         return absl::StrCat(
             R"({"model":"m","messages":[{"role":"user","content":"x"}],"response_format":)",
             R"({"type":"json_schema","json_schema":{"name":"s","schema":{"type":"object",)",
             R"("properties":{)", Repeated(number, property), "}}}}}");
       }},
      {"a prompt's token ids", ReadCompletionRequest,
       [](int number) {
         return absl::StrCat(R"({"model":"m","prompt":)", List(8 * number, "7"), "}");
       }},
      {"items of the Responses API", ReadResponsesRequest,
       [](int number) {
         return absl::StrCat(R"({"model":"m","input":)",
                             List(number, R"({"role":"user","content":"x"})"), "}");
       }},
      {"messages of Ollama's API", ReadOllamaChat,
       [](int number) {
         return absl::StrCat(R"({"model":"m","messages":)",
                             List(number, R"({"role":"user","content":"x"})"), "}");
       }},
  };
  return kinds;
}

// Of this thread's processor, in seconds: the least of some tries, which others disturb least.
double SecondsToRead(const Kind& kind, int number) {
  const auto now = [] {
    timespec time{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
  };
  const std::string body = kind.make(number);
  double least = std::numeric_limits<double>::infinity();
  for (int i = 0; i < kTries; ++i) {
    const double begin = now();
    const auto asked = kind.read(body, ReaderOptions{});
    least = std::min(least, now() - begin);
    EXPECT_TRUE(asked.ok()) << asked.status();
  }
  return least;
}

TEST(ReadingTimeTest, GrowsWithTheBodyAndNoFaster) {
  for (const Kind& kind : Kinds()) {
    const double small_s = SecondsToRead(kind, kSmall);
    const double large_s = SecondsToRead(kind, kTimes * kSmall);
    EXPECT_LT(large_s, kMostTimes * small_s) << kind.what;
  }
}

}  // namespace
}  // namespace thinkwire::router::http
