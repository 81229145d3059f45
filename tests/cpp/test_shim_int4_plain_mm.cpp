#include "plain_mm_shim_testing.h"

namespace aotiny {
namespace {

using namespace aotiny::testing;
constexpr FormatId kA = kFormatId<CoalescedInt4Traits<Metadata::A>>;
constexpr FormatId kH = kFormatId<CoalescedInt4Traits<Metadata::H>>;
constexpr FormatId kB = kFormatId<CoalescedInt4Traits<Metadata::B>>;
constexpr FormatId kC = kFormatId<CoalescedInt4Traits<Metadata::C>>;

int32_t call_with(const Tensor& self, const std::vector<Tensor>& planes, int64_t group_size,
                  AtenTensorHandle* result) {
  return call_with_planes(aoti_torch_cpu_int4_plain_mm, borrowed(self), borrowed(planes),
                          group_size, result);
}

int32_t call(const Tensor& self, const Weight& w, AtenTensorHandle* result) {
  return call_with(self, w.planes(), w.group_size(), result);
}

class Int4PlainMm : public ::testing::TestWithParam<FormatId> {};
INSTANTIATE_TEST_SUITE_P(Metadata, Int4PlainMm, ::testing::Values(kA, kH, kB, kC),
                         [](const auto& info) { return format_name(info.param); });

TEST_P(Int4PlainMm, MultipliesEveryDtype) {
  const Weight weight = random_weight(GetParam(), 35, 256, 64, 30);
  for (const DType dtype : {DType::Float32, DType::Float16, DType::BFloat16}) {
    const Tensor x = activations(256, dtype);
    AtenTensorHandle result = nullptr;
    ASSERT_EQ(call(x, weight, &result), 0) << last_error();
    expect_product(take(result), x, weight);
  }
}

TEST_P(Int4PlainMm, TakesStridedAndEmptyInputs) {
  const Weight weight = random_weight(GetParam(), 35, 256, 64, 30);
  for (const Tensor& x : {activations(256).transpose(0, 1), activations(400).slice(2, 8, 264),
                          activations(256).slice(0, 0, 0)}) {
    AtenTensorHandle result = nullptr;
    ASSERT_EQ(call(x, weight, &result), 0) << last_error();
    const Tensor y = take(result);
    if (x.numel() > 0) expect_product(y, x, weight);
    EXPECT_EQ(y.numel(), x.numel() / 256 * 35);
  }
}

TEST_P(Int4PlainMm, RefusesBadArguments) {
  const Weight weight = random_weight(GetParam(), 35, 256, 64, 30);
  const auto with = [&](size_t index, Tensor plane, int64_t group_size) {
    return [&weight, index, plane, group_size](AtenTensorHandle* result) {
      std::vector<Tensor> planes = weight.planes();
      if (index < planes.size()) planes[index] = plane;
      return call_with(activations(256), planes, group_size, result);
    };
  };
  const Tensor& scale = weight.planes()[1];
  for (const int64_t group_size : {-64, 0, 32, 48, 96, 128}) {
    expect_failure(Status::InvalidArgument, with(9, {}, group_size));
  }
  expect_failure(Status::InvalidArgument, with(0, Tensor(), 64));
  expect_failure(Status::InvalidType, with(0, weight.planes()[0].to(DType::Int8), 64));
  expect_failure(Status::InvalidArgument, with(0, weight.planes()[0].slice(1, 0, 64), 64));
  expect_failure(Status::InvalidArgument, with(1, scale.transpose(0, 1).contiguous(), 64));
  const Tensor& last = weight.planes().back();
  expect_failure(Status::InvalidArgument,
                 with(weight.planes().size() - 1, last.transpose(0, 1).contiguous(), 64));
  expect_failure(Status::InvalidType, with(1, scale.to(DType::Float32), 64));
  EXPECT_EQ(with(9, {}, 64)(nullptr), static_cast<int32_t>(Status::InvalidArgument));
}

// Dtypes of the third and fourth argument decide before any later argument is touched: here those
// are not even pointers.
TEST(Int4PlainMmKinds, AreToldApartByDtype) {
  const Weight weight = random_weight(kB, 8, 64, 32, 31);
  const Tensor x = activations(64);
  const auto status = [&](DType third, DType fourth) {
    return aoti_torch_cpu_int4_plain_mm(borrowed(x), borrowed(weight.planes()[0]),
                                        borrowed(weight.planes()[1].to(third)),
                                        borrowed(weight.planes()[2].to(fourth)), 1, 2, 3, 4);
  };
  const auto invalid = static_cast<int32_t>(Status::InvalidType);
  EXPECT_EQ(status(DType::BFloat16, DType::UInt8), invalid);
  EXPECT_EQ(status(DType::UInt8, DType::BFloat16), invalid);
  EXPECT_EQ(status(DType::Float32, DType::Float32), invalid);
  EXPECT_EQ(status(DType::Float16, DType::BFloat16), invalid);
  EXPECT_EQ(status(DType::BFloat16, DType::Float16), invalid);
  EXPECT_EQ(status(DType::UInt8, DType::Float32), invalid);
  EXPECT_NE(std::string(last_error()).find("C uint8 and float16"), std::string::npos)
      << last_error();
}

TEST(Int4PlainMmKinds, NullsAreRefused) {
  const Weight weight = random_weight(kB, 8, 64, 32, 31);
  const Tensor x = activations(64);
  const std::vector<AtenTensorHandle> planes = borrowed(weight.planes());
  for (size_t missing = 0; missing <= planes.size(); ++missing) {
    std::vector<AtenTensorHandle> given = planes;
    if (missing < planes.size()) given[missing] = nullptr;
    AtenTensorHandle result = nullptr;
    EXPECT_EQ(call_with_planes(aoti_torch_cpu_int4_plain_mm,
                               missing < planes.size() ? borrowed(x) : nullptr, given, 32, &result),
              static_cast<int32_t>(Status::InvalidArgument))
        << missing;
    EXPECT_EQ(result, nullptr);
  }
}

}  // namespace
}  // namespace aotiny
