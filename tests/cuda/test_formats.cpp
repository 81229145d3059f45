// formats.cuh against the formats' own scalar code. It runs on the host: no GPU is needed.
#include "aotiny/kernels/formats.cuh"

#include <gtest/gtest.h>

#include <cstring>
#include <random>

namespace aotiny::cuda {
namespace {

// A weight [n, k] of random codes, with metadata that quantizing would give.
template <class Traits>
Weight random_weight(int64_t n, int64_t k, int64_t group_size, unsigned seed) {
  std::mt19937 random(seed);
  std::uniform_int_distribution<int> code(Traits::kMinCode, Traits::kMaxCode);
  std::uniform_real_distribution<double> value(0.1, 2);
  Weight weight = Weight::empty(kFormatId<Traits>, n, k, group_size);
  std::vector<int> codes(k);
  std::vector<GroupParams> params(k / group_size);
  for (int64_t i = 0; i < n; ++i) {
    for (int& c : codes) c = code(random);
    for (GroupParams& p : params) p = Traits::params_of_range(-value(random), value(random));
    Traits::pack_codes(codes.data(), k, weight.row(i));
    Traits::encode_params(params.data(), k / group_size, group_size, weight.row(i));
  }
  return weight;
}

template <class Traits>
void compare(const Weight& weight) {
  const int64_t k = weight.k(), groups = k / weight.group_size();
  const DeviceWeight device(weight);
  std::vector<int> codes(k);
  std::vector<float> scale(groups), zero(groups);
  for (int64_t n = 0; n < weight.n(); ++n) {
    Traits::unpack_codes(weight.row(n), k, codes.data());
    Traits::decode_params(weight.row(n), groups, weight.group_size(), scale.data(), zero.data());
    const FormatRow row = format_row<Traits>(device, n);
    for (int64_t block = 0; block < k / 32; ++block) {
      uint32_t words[8];
      DeviceFormat<Traits>::codes(row, block, words);
      for (int i = 0; i < 32; ++i) {
        const int8_t found = static_cast<int8_t>(words[i / 4] >> (i % 4 * 8));
        const int64_t at = 32 * block + k_in_block(DeviceFormat<Traits>::kOrder, i / 4, i % 4);
        ASSERT_EQ(found, codes[at]) << Traits::kInfo.name << " n " << n << " k " << at;
      }
    }
    for (int64_t group = 0; group < groups; ++group) {
      const GroupNumbers found = DeviceFormat<Traits>::numbers(row, group, weight.group_size());
      ASSERT_EQ(found.scale, scale[group]) << Traits::kInfo.name << " group " << group;
      ASSERT_EQ(found.zero, zero[group]) << Traits::kInfo.name << " group " << group;
    }
  }
}

template <class... Traits>
void compare_all(FormatList<Traits...>) {
  unsigned seed = 1;
  const auto one = [&](auto traits) {
    using T = decltype(traits);
    constexpr int64_t kN = 24, kK = 1024;
    for (const int64_t group_size : {16, 32, 64, 128, 256}) {
      try {
        check_shape(T::kInfo, kN, kK, group_size);
      } catch (const Error&) {
        continue;
      }
      compare<T>(random_weight<T>(kN, kK, group_size, seed++));
    }
  };
  (one(Traits{}), ...);
}

TEST(DeviceFormats, AgreeWithTheTraitsOfEveryFormat) { compare_all(Formats{}); }

TEST(DeviceFormats, PlainOnesHaveTheOrderOfTheirActivations) {
  const auto check = [](auto traits) {
    using T = decltype(traits);
    if (T::kInfo.plain) {
      EXPECT_EQ(DeviceFormat<T>::kOrder, T::kInfo.order) << T::kInfo.name;
    }
  };
  for (int i = 0; i < Formats::kCount; ++i) visit_format(FormatId{i}, check);
}

TEST(DeviceFormats, AMisalignedPlaneIsRefused) {
  using Traits = CoalescedInt4Traits<Metadata::A>;
  const Weight weight = random_weight<Traits>(2, 64, 32, 1);
  const Tensor storage = Tensor::empty(IntSpan{{80}}, DType::UInt8);
  const int64_t sizes[] = {2, 32}, strides[] = {32, 1};
  std::vector<Tensor> planes = weight.planes();
  planes[0] = Tensor::from_blob(storage.data<uint8_t>() + 4, sizes, strides, 0, DType::UInt8, kCPU);
  const Weight shifted(weight.format(), planes, 32);
  try {
    const DeviceWeight device(shifted);
    FAIL() << "nothing failed";
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), Status::InvalidArgument);
    EXPECT_NE(std::string(error.what()).find("load 16 bytes at a time"), std::string::npos)
        << error.what();
  }
}

}  // namespace
}  // namespace aotiny::cuda
