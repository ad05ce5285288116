#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace thinkwire::bench {

// The text of config.json of DeepSeek-R1 itself ("r1-671b") or of a distill of it, so that its
// speed can be measured without a download; empty if there is none of that name.
std::string DistillConfig(std::string_view name);

// "qwen-1.5b", "qwen-7b", …, smallest first.
std::vector<std::string> DistillNames();

}  // namespace thinkwire::bench
