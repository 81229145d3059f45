#include "plain_mm_shim_testing.h"

namespace aotiny {
namespace {

using namespace aotiny::testing;

const Weight& weight() {
  static const Weight weight = random_weight(kFormatId<Int8Traits<Metadata::A>>, 19, 96, 32, 20);
  return weight;
}

int32_t call(const Tensor& self, const Weight& w, AtenTensorHandle* result) {
  return aoti_torch_cpu_int8_plain_mm(borrowed(self), borrowed(w.planes()[0]),
                                      borrowed(w.planes()[1]), borrowed(w.planes()[2]),
                                      w.group_size(), result);
}

TEST(Int8PlainMm, MultipliesEveryDtype) {
  for (const DType dtype : {DType::Float32, DType::Float16, DType::BFloat16}) {
    const Tensor x = activations(96, dtype);
    AtenTensorHandle result = nullptr;
    ASSERT_EQ(call(x, weight(), &result), 0) << last_error();
    expect_product(take(result), x, weight());
  }
}

TEST(Int8PlainMm, TakesAnyStridesAndRanks) {
  const Tensor base = tensor_of(gaussian(96 * 10, 22), {96, 10});
  for (const Tensor& x : {base.transpose(0, 1), base.transpose(0, 1).slice(0, 1, std::nullopt, 3),
                          base.transpose(0, 1).select(0, 4), activations(96).transpose(0, 1),
                          activations(192).slice(2, 7, 103), activations(96).slice(1, 0, 0)}) {
    AtenTensorHandle result = nullptr;
    ASSERT_EQ(call(x, weight(), &result), 0) << last_error();
    const Tensor y = take(result);
    if (x.numel() > 0) {
      expect_product(y, x, weight());
    } else {
      EXPECT_EQ(y.numel(), 0);
      EXPECT_EQ(y.size(2), 19);
    }
  }
}

// Whatever the caller's memory held before.
TEST(Int8PlainMm, LeavesNoHandleWhereACallFails) {
  const Tensor x = activations(96);
  for (size_t wrong = 0; wrong < 3; ++wrong) {
    Weight w = weight();
    std::vector<Tensor> planes = w.planes();
    planes[wrong] = tensor_of({1}, {1});
    AtenTensorHandle result = borrowed(x);
    EXPECT_EQ(aoti_torch_cpu_int8_plain_mm(borrowed(x), borrowed(planes[0]), borrowed(planes[1]),
                                           borrowed(planes[2]), 32, &result),
              static_cast<int32_t>(Status::InvalidType));
    EXPECT_EQ(result, nullptr) << wrong;
  }
}

TEST(Int8PlainMm, RefusesBadArguments) {
  const Tensor x = activations(96);
  const Tensor& codes = weight().planes()[0];
  const Tensor& scale = weight().planes()[1];
  const Tensor& zero = weight().planes()[2];
  const auto with = [&](const Tensor* self, const Tensor* q, const Tensor* s, const Tensor* z,
                        int64_t group_size) {
    return [=](AtenTensorHandle* result) {
      const auto handle = [](const Tensor* t) { return t ? borrowed(*t) : nullptr; };
      return aoti_torch_cpu_int8_plain_mm(handle(self), handle(q), handle(s), handle(z), group_size,
                                          result);
    };
  };
  const Tensor undefined{}, short_x = activations(64), scalar = Tensor::scalar(1.0f);
  const Tensor integers = Tensor::empty(std::vector<int64_t>{2, 96}, DType::Int32);
  const Tensor native = scale.transpose(0, 1).contiguous();
  for (const auto& bad :
       {with(nullptr, &codes, &scale, &zero, 32), with(&x, nullptr, &scale, &zero, 32),
        with(&x, &codes, nullptr, &zero, 32), with(&x, &codes, &scale, nullptr, 32),
        with(&short_x, &codes, &scale, &zero, 32), with(&scalar, &codes, &scale, &zero, 32),
        with(&undefined, &codes, &scale, &zero, 32), with(&x, &undefined, &scale, &zero, 32),
        with(&x, &codes, &scale, &zero, 0), with(&x, &codes, &scale, &zero, 48),
        with(&x, &codes, &scale, &zero, 96), with(&x, &codes, &native, &zero, 32)}) {
    expect_failure(Status::InvalidArgument, bad);
  }
  expect_failure(Status::InvalidType, with(&integers, &codes, &scale, &zero, 32));
  expect_failure(Status::InvalidType, with(&x, &codes, &zero, &zero, 32));
  expect_failure(Status::InvalidType, with(&x, &codes, &scale, &scale, 32));
  EXPECT_EQ(with(&x, &codes, &scale, &zero, 32)(nullptr),
            static_cast<int32_t>(Status::InvalidArgument));
}

TEST(Int8PlainMm, AFailedCallLeavesNullInRet0) {
  AtenTensorHandle result = borrowed(weight().planes()[0]);
  EXPECT_NE(call(activations(64), weight(), &result), 0);
  EXPECT_EQ(result, nullptr);
}

}  // namespace
}  // namespace aotiny
