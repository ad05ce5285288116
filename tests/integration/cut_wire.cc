#include "tests/integration/cut_wire.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "tests/integration/process.h"

namespace thinkwire::integration {
namespace {

constexpr char kNearMac[] = "02:00:00:00:00:01";
constexpr char kFarMac[] = "02:00:00:00:00:02";
constexpr char kNobodysMac[] = "02:00:00:00:00:03";

std::vector<std::string> Joined(std::vector<std::string> words,
                                const std::vector<std::string>& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

// Runs a command to its end; empty, or what it said of its failure.
std::string Failure(const std::vector<std::string>& command) {
  Process process(command);
  if (process.Wait() == 0) return "";
  return absl::StrCat(process.error(), " (", command.back(), ")");
}

}  // namespace

// Addresses of the block for benchmarks (RFC 2544), each process its own.
CutWire::CutWire() : name_(absl::StrCat("tw", getpid())) {
  const int place = getpid() % (1 << 15);
  const std::string net = absl::StrCat("198.", 18 + place / (1 << 14), ".", place / 64 % 256, ".");
  near_address_ = absl::StrCat(net, place % 64 * 4 + 1);
  far_address_ = absl::StrCat(net, place % 64 * 4 + 2);
}

CutWire::~CutWire() {
  Failure({"/usr/bin/env", "ip", "link", "delete", name_ + "n"});
  Failure({"/usr/bin/env", "ip", "netns", "delete", name_});
}

std::unique_ptr<CutWire> CutWire::Lay(std::string& why) {
  if (geteuid() != 0) {
    why = "only root may make network namespaces";
    return nullptr;
  }
  std::unique_ptr<CutWire> wire(new CutWire);
  return wire->Build(why) ? std::move(wire) : nullptr;
}

std::vector<std::string> CutWire::far() const {
  return {"/usr/bin/env", "ip", "netns", "exec", name_};
}

bool CutWire::Build(std::string& why) {
  const std::string near = name_ + "n";
  const std::string far_end = name_ + "f";
  const std::vector<std::vector<std::string>> steps = {
      {"/usr/bin/env", "ip", "netns", "add", name_},
      {"/usr/bin/env", "ip", "link", "add", near, "address", kNearMac, "type", "veth", "peer",
       "name", far_end, "address", kFarMac, "netns", name_},
      {"/usr/bin/env", "ip", "address", "add", near_address_ + "/30", "dev", near},
      {"/usr/bin/env", "ip", "link", "set", near, "up"},
      Joined(far(), {"/usr/bin/env", "ip", "address", "add", far_address_ + "/30", "dev", far_end}),
      Joined(far(), {"/usr/bin/env", "ip", "link", "set", far_end, "up"}),
      Joined(far(), {"/usr/bin/env", "ip", "link", "set", "lo", "up"}),
  };
  for (const auto& step : steps) {
    why = Failure(step);
    if (!why.empty()) return false;
  }
  Heal();
  return true;
}

void CutWire::AimNear(const std::string& mac) {
  EXPECT_EQ(Failure({"/usr/bin/env", "ip", "neighbour", "replace", far_address_, "lladdr", mac,
                     "dev", name_ + "n", "nud", "permanent"}),
            "");
}

void CutWire::AimFar(const std::string& mac) {
  EXPECT_EQ(Failure(Joined(far(), {"/usr/bin/env", "ip", "neighbour", "replace", near_address_,
                                   "lladdr", mac, "dev", name_ + "f", "nud", "permanent"})),
            "");
}

void CutWire::CutToFar() { AimNear(kNobodysMac); }
void CutWire::CutFromFar() { AimFar(kNobodysMac); }
void CutWire::Heal() {
  AimNear(kFarMac);
  AimFar(kNearMac);
}

}  // namespace thinkwire::integration
