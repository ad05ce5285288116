#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/integration/process.h"
#include "tests/integration/worker_process.h"

namespace thinkwire::integration {

// The file of the token that the groups of this test run share.
std::string GroupTokenFile();

// What the bundled model's worker for the ranks of a group is told, but for its ports.
std::vector<std::string> GroupOptions(const std::string& ranks, const std::string& leader,
                                      int size = 2);

// A process of a group, on free ports. Its command comes after `before`; a `fault` (tests/fakes) is
// put into it.
std::unique_ptr<Process> StartRanks(std::vector<std::string> options,
                                    const std::vector<std::string>& before = {},
                                    const std::string& fault = "");

}  // namespace thinkwire::integration
