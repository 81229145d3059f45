// Which devices a CUDA model's machine code runs on.
#include "aotiny/runtime/requirements.h"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

namespace aotiny {
namespace {

constexpr Device kSecond{DeviceType::CUDA, 1};

// "" if a model compiled for `capability` is taken on a device with major.minor.
std::string refusal(const std::string& capability, int major, int minor,
                    const std::vector<uint8_t>& image = {}) {
  DeviceProperties properties;
  properties.name = "Some GPU";
  properties.compute_capability_major = major;
  properties.compute_capability_minor = minor;
  try {
    check_compute_capability("m.pt2", image, {{"AOTI_COMPUTE_CAPABILITY", capability}}, kSecond,
                             properties);
    return "";
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), capability == "x" ? Status::InvalidProgram : Status::NotSupported);
    return error.what();
  }
}

TEST(ComputeCapability, RunsOnTheSameMajorAndAnEqualOrHigherMinor) {
  EXPECT_EQ(refusal("80", 8, 0), "");
  EXPECT_EQ(refusal("80", 8, 6), "");
  EXPECT_NE(refusal("86", 8, 0), "");
  EXPECT_NE(refusal("80", 9, 0), "");
  EXPECT_NE(refusal("75", 8, 0), "");
}

TEST(ComputeCapability, FromNineOnOnlyOnTheSame) {
  EXPECT_EQ(refusal("90", 9, 0), "");
  EXPECT_EQ(refusal("120", 12, 0), "");
  EXPECT_NE(refusal("100", 10, 3), "");
  EXPECT_NE(refusal("120", 12, 1), "");
  EXPECT_EQ(refusal("100", 9, 0),
            "m.pt2 was compiled for compute capability 10.0; cuda:1 (Some GPU) has 9.0, which its "
            "machine code does not run on");
}

TEST(ComputeCapability, FatBinariesAreLeftToTheDriver) {
  std::vector<uint8_t> image(1000, 0x50);
  const std::vector<uint8_t> header = {0x50, 0xED, 0x55, 0xBA, 1, 0, 16, 0};
  EXPECT_NE(refusal("80", 9, 0, image), "");
  std::copy(header.begin(), header.end(), image.begin() + 333);
  EXPECT_EQ(refusal("80", 9, 0, image), "");
}

TEST(ComputeCapability, OthersAreNoNumbersOrNotSaid) {
  EXPECT_EQ(refusal("", 9, 0), "");
  EXPECT_EQ(refusal("None", 9, 0), "");
  EXPECT_EQ(refusal("x", 9, 0),
            "m.pt2: AOTI_COMPUTE_CAPABILITY is \"x\", which is no compute capability");
  DeviceProperties properties;
  EXPECT_NO_THROW(check_compute_capability("m.pt2", {}, {}, kSecond, properties));
}

TEST(CompiledFor, IsTheCpuUnlessTheMetadataSaysCuda) {
  EXPECT_EQ(compiled_for({}), DeviceType::CPU);
  EXPECT_EQ(compiled_for({{"AOTI_DEVICE_KEY", "cpu"}}), DeviceType::CPU);
  EXPECT_EQ(compiled_for({{"AOTI_DEVICE_KEY", "cuda"}}), DeviceType::CUDA);
}

}  // namespace
}  // namespace aotiny
