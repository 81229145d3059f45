// Where memory lives. The codes are those of torch's DeviceType.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <string>
#include <string_view>

namespace aotiny {

enum class DeviceType : int8_t { CPU = 0, CUDA = 1 };

struct Device {
  DeviceType type = DeviceType::CPU;
  int8_t index = -1;  // the CPU is always -1

  bool operator==(const Device&) const = default;
};

inline constexpr Device kCPU{};

// From torch's codes. The CPU takes index -1 or 0 and becomes -1; CUDA takes any index >= 0, or -1
// for device 0. Fails with InvalidArgument otherwise.
Device device_from_codes(int32_t type, int32_t index);
// From "cpu", "cuda" or "cuda:N"; fails with InvalidArgument otherwise.
Device parse_device(std::string_view text);
std::string to_string(Device device);
std::ostream& operator<<(std::ostream& out, Device device);

}  // namespace aotiny
