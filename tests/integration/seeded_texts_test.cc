// Two hundred seeded texts of the bundled model under many options, byte for byte: whatever is
// rebuilt inside, the same seed gives the same text. A change of the numbers on purpose records
// them anew: run this test with THINKWIRE_SEEDED_REQUESTS naming what
// tests/data/scripts/make_seeded_requests.py wrote, and THINKWIRE_RECORD the file to write.
#include <google/protobuf/util/json_util.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <future>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/integration/worker_process.h"

namespace thinkwire::integration {
namespace {

constexpr std::size_t kAtOnce = 8;

std::string Variable(const char* name, const char* otherwise) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : otherwise;
}

std::vector<nlohmann::ordered_json> ReadRows(const std::string& path) {
  std::ifstream file(path);
  std::vector<nlohmann::ordered_json> rows;
  for (std::string line; std::getline(file, line);) {
    rows.push_back(nlohmann::ordered_json::parse(line));
  }
  return rows;
}

// The row's request and what `worker` answers.
nlohmann::ordered_json Answered(WorkerProcess& worker, const nlohmann::ordered_json& row) {
  v1::GenerateRequest request;
  const auto parsed =
      google::protobuf::util::JsonStringToMessage(row.at("request").dump(), &request);
  EXPECT_TRUE(parsed.ok()) << parsed.ToString();
  const Generation all = worker.Generate(request);
  EXPECT_TRUE(all.status.ok()) << all.status;
  return {{"request", row.at("request")},
          {"reasoning", all.reasoning},
          {"answer", all.answer},
          {"finish", v1::FinishReason_Name(all.finished.reason())},
          {"tokens", all.ids.size()}};
}

// All rows answered, some at once, in the rows' order.
std::vector<nlohmann::ordered_json> AnswerAll(WorkerProcess& worker,
                                              const std::vector<nlohmann::ordered_json>& rows) {
  std::vector<nlohmann::ordered_json> answered(rows.size());
  std::vector<std::future<void>> askers;
  for (std::size_t first = 0; first < kAtOnce; ++first) {
    askers.push_back(std::async(std::launch::async, [&, first] {
      for (std::size_t i = first; i < rows.size(); i += kAtOnce) {
        answered[i] = Answered(worker, rows[i]);
      }
    }));
  }
  for (auto& asker : askers) asker.get();
  return answered;
}

TEST(SeededTextsTest, AreTheSameByteForByte) {
  const auto rows =
      ReadRows(Variable("THINKWIRE_SEEDED_REQUESTS", "tests/data/seeded_texts.jsonl"));
  ASSERT_EQ(rows.size(), 200U);
  WorkerProcess worker({absl::StrCat("--model=", kTinyModel), "--device=cpu"});
  ASSERT_TRUE(worker.listening());
  const auto answered = AnswerAll(worker, rows);
  if (const std::string path = Variable("THINKWIRE_RECORD", ""); !path.empty()) {
    std::ofstream file(path);
    for (const auto& row : answered) file << row.dump() << "\n";
    return;
  }
  for (std::size_t i = 0; i < rows.size(); ++i) EXPECT_EQ(answered[i], rows[i]) << "row " << i;
}

}  // namespace
}  // namespace thinkwire::integration
