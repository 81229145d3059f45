#include "plain_mm_shim_testing.h"

namespace aotiny {
namespace {

using namespace aotiny::testing;

const Weight& weight() {
  static const Weight weight = random_weight(kFormatId<ExactInt4Traits>, 19, 512, 32, 20);
  return weight;
}

int32_t call(const Tensor& self, const std::vector<Tensor>& planes, int64_t group_size,
             AtenTensorHandle* result) {
  const auto at = [&](int i) { return borrowed(planes[i]); };
  return aoti_torch_cpu_exact_int4_plain_mm(borrowed(self), at(0), at(1), at(2), at(3), at(4),
                                            group_size, result);
}

TEST(ExactInt4PlainMm, MultipliesEveryDtype) {
  for (const DType dtype : {DType::Float32, DType::Float16, DType::BFloat16}) {
    const Tensor x = activations(512, dtype);
    AtenTensorHandle result = nullptr;
    ASSERT_EQ(call(x, weight().planes(), 32, &result), 0) << last_error();
    expect_product(take(result), x, weight());
  }
}

TEST(ExactInt4PlainMm, TakesStridedAndEmptyInputs) {
  for (const Tensor& x : {activations(512).transpose(0, 1), activations(700).slice(2, 8, 520),
                          activations(512).slice(0, 0, 0)}) {
    AtenTensorHandle result = nullptr;
    ASSERT_EQ(call(x, weight().planes(), 32, &result), 0) << last_error();
    const Tensor y = take(result);
    if (x.numel() > 0) expect_product(y, x, weight());
    EXPECT_EQ(y.numel(), x.numel() / 512 * 19);
  }
}

TEST(ExactInt4PlainMm, RefusesBadArguments) {
  const auto with = [&](size_t index, Tensor plane, int64_t group_size = 32) {
    return [index, plane, group_size](AtenTensorHandle* result) {
      std::vector<Tensor> planes = weight().planes();
      if (index < planes.size()) planes[index] = plane;
      return call(activations(512), planes, group_size, result);
    };
  };
  for (const int64_t group_size : {-32, 0, 16, 64}) {
    expect_failure(Status::InvalidArgument, with(9, {}, group_size));
  }
  const std::vector<Tensor>& planes = weight().planes();
  expect_failure(Status::InvalidArgument, with(0, Tensor()));
  expect_failure(Status::InvalidType, with(0, planes[0].to(DType::Int8)));
  expect_failure(Status::InvalidArgument, with(1, planes[1].transpose(0, 1).contiguous()));
  expect_failure(Status::InvalidType, with(3, planes[3].to(DType::BFloat16)));
  expect_failure(Status::InvalidArgument, with(4, planes[4].slice(1, 0, 1).contiguous()));
  EXPECT_EQ(with(9, {})(nullptr), static_cast<int32_t>(Status::InvalidArgument));
}

TEST(ExactInt4PlainMm, AFailedCallLeavesNullInRet0) {
  AtenTensorHandle result = borrowed(weight().planes()[0]);
  EXPECT_NE(call(activations(64), weight().planes(), 32, &result), 0);
  EXPECT_EQ(result, nullptr);
}

// CoalescedInt4 C has the same tensors, and both calls 8 arguments. Their order tells them apart.
TEST(ExactInt4PlainMm, IsNotInt4PlainMm) {
  const Weight c = random_weight(kFormatId<CoalescedInt4Traits<Metadata::C>>, 19, 512, 32, 20);
  expect_failure(Status::InvalidType, [&](AtenTensorHandle* result) {
    return call(activations(512), c.planes(), 32, result);
  });
  const Tensor x = activations(512);
  expect_failure(Status::InvalidType, [&](AtenTensorHandle* result) {
    const auto at = [](int i) { return borrowed(weight().planes()[i]); };
    return aoti_torch_cpu_int4_plain_mm(
        borrowed(x), at(0), at(1), at(2), reinterpret_cast<intptr_t>(at(3)),
        reinterpret_cast<intptr_t>(at(4)), 32, reinterpret_cast<intptr_t>(result));
  });
}

}  // namespace
}  // namespace aotiny
