#include "aotiny/core/device.h"

#include <charconv>
#include <limits>
#include <ostream>

#include "aotiny/core/status.h"

namespace aotiny {

Device device_from_codes(int32_t type, int32_t index) {
  if (type == static_cast<int32_t>(DeviceType::CPU)) {
    require(index == -1 || index == 0, Status::InvalidArgument, "CPU device index ", index,
            " is not -1 or 0");
    return kCPU;
  }
  require(type == static_cast<int32_t>(DeviceType::CUDA), Status::InvalidArgument,
          "device type code ", type, " is neither 0 (cpu) nor 1 (cuda)");
  require(index >= -1 && index <= std::numeric_limits<int8_t>::max(), Status::InvalidArgument,
          "CUDA device index ", index, " is outside -1..127");
  return Device{DeviceType::CUDA, static_cast<int8_t>(index == -1 ? 0 : index)};
}

Device parse_device(std::string_view text) {
  if (text == "cpu") return kCPU;
  if (text == "cuda") return device_from_codes(static_cast<int32_t>(DeviceType::CUDA), 0);
  constexpr std::string_view kPrefix = "cuda:";
  if (text.starts_with(kPrefix)) {
    const std::string_view digits = text.substr(kPrefix.size());
    int32_t index = -1;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), index);
    if (error == std::errc{} && end == digits.data() + digits.size() && index >= 0) {
      return device_from_codes(static_cast<int32_t>(DeviceType::CUDA), index);
    }
  }
  fail(Status::InvalidArgument, "device \"", text, "\" is not \"cpu\", \"cuda\" or \"cuda:N\"");
}

std::string to_string(Device device) {
  if (device.type == DeviceType::CPU) return "cpu";
  return "cuda:" + std::to_string(device.index);
}

std::ostream& operator<<(std::ostream& out, Device device) { return out << to_string(device); }

}  // namespace aotiny
