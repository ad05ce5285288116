#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/integration/process.h"
#include "tests/integration/worker_process.h"

namespace thinkwire::integration {

// A port of this machine that is nobody's, and that stays so but for who asks for it by number:
// bound, and not listened at. Owns: the socket.
class FreePort {
 public:
  FreePort();
  ~FreePort();
  FreePort(const FreePort&) = delete;
  FreePort& operator=(const FreePort&) = delete;

  int number() const { return number_; }

 private:
  int socket_ = -1;
  int number_ = 0;
};

// The file of the token that the groups of this test run share.
std::string GroupTokenFile();

// What the bundled model's worker for the ranks of a group is told, but for its ports.
std::vector<std::string> GroupOptions(const std::string& ranks, const std::string& leader,
                                      int size = 2);

// A process of a group, on free ports. Its command comes after `before`.
std::unique_ptr<Process> StartRanks(std::vector<std::string> options,
                                    const std::vector<std::string>& before = {});

}  // namespace thinkwire::integration
