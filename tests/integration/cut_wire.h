#pragma once

#include <memory>
#include <string>
#include <vector>

namespace thinkwire::integration {

// A network namespace that a virtual wire joins to this one. A cut is silent, as a partition's:
// what is sent in that direction gets lost, and nobody is told. Frames then have an address that
// the other end does not take, which needs no packet filter. Owns: namespace and wire.
class CutWire {
 public:
  // Null where this machine does not let us: `why` says what failed. Needs root and ip of iproute2.
  static std::unique_ptr<CutWire> Lay(std::string& why);
  ~CutWire();
  CutWire(const CutWire&) = delete;
  CutWire& operator=(const CutWire&) = delete;

  // What a command begins with that is to run at the far end.
  std::vector<std::string> far() const;
  // The address of the far end.
  const std::string& far_address() const { return far_address_; }
  // The address of this end, as the far one sees it.
  const std::string& near_address() const { return near_address_; }

  void CutToFar();
  void CutFromFar();
  void Heal();

 private:
  CutWire();
  // Whether the steps went well; `why` as Lay's.
  bool Build(std::string& why);
  // Where the near end's and the far end's frames go.
  void AimNear(const std::string& mac);
  void AimFar(const std::string& mac);

  const std::string name_;  // of the namespace, and of the wire's ends but for a letter
  std::string near_address_;
  std::string far_address_;
};

}  // namespace thinkwire::integration
