#include "tests/integration/group.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "absl/strings/str_cat.h"
#include "tests/integration/programs.h"

namespace thinkwire::integration {

std::string GroupTokenFile() {
  std::string path = absl::StrCat(testing::TempDir(), "group_token_", getpid());
  std::ofstream(path) << "the secret of a test's group\n";
  return path;
}

std::vector<std::string> GroupOptions(const std::string& ranks, const std::string& leader,
                                      int size) {
  return {absl::StrCat("--model=", kTinyModel), absl::StrCat("--tensor_parallel_size=", size),
          absl::StrCat("--ranks=", ranks), absl::StrCat("--leader=", leader),
          absl::StrCat("--group_token_file=", GroupTokenFile())};
}

std::unique_ptr<Process> StartRanks(std::vector<std::string> options,
                                    const std::vector<std::string>& before,
                                    const std::string& fault) {
  std::vector<std::string> command = before;
  command.emplace_back(fault.empty() ? kWorker : kWorkerWithFaults);
  if (!fault.empty()) command.push_back(absl::StrCat("--fault=", fault));
  command.insert(command.end(),
                 {"--listen=127.0.0.1:0", "--metrics_listen=127.0.0.1:0", "--cpu_threads=1"});
  command.insert(command.end(), options.begin(), options.end());
  return std::make_unique<Process>(command);
}

}  // namespace thinkwire::integration
