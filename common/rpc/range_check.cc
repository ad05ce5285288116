#include "common/rpc/range_check.h"

#include "absl/strings/str_cat.h"
#include "common/rpc/status_details.h"
#include "common/shown_number.h"

namespace thinkwire::rpc {

absl::Status CheckRange(const std::string& field, double value, double low, double high,
                        bool low_open) {
  if (value >= low && value <= high && !(low_open && value == low)) return absl::OkStatus();
  return InvalidField(field, absl::StrCat("must be in ", low_open ? "(" : "[", ShownNumber(low),
                                          ", ", ShownNumber(high), "], is ", ShownNumber(value)));
}

}  // namespace thinkwire::rpc
