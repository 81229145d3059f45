// The plain products' C functions on every format's planes: their own give the product, any other
// is InvalidType, whatever the function makes of it.
#include "plain_mm_shim_testing.h"

namespace aotiny {
namespace {

using namespace aotiny::testing;

// As a compiled model passes arguments: each in a register or a slot of the stack. What a function
// does not take lies there unread.
using AnyFunction = AOTITorchError (*)(intptr_t, intptr_t, intptr_t, intptr_t, intptr_t, intptr_t,
                                       intptr_t, intptr_t, intptr_t);

struct Function {
  const char* type;  // the name of the formats that it is for
  void* address;
  std::vector<size_t> arity;  // tensors after self that it may be given
};

// int4_plain_mm with three tensors is left out of those that get others' planes: where they begin
// as B's, its dispatch must look at a fourth.
const std::vector<Function>& functions() {
  static const std::vector<Function> all = {
      {"CoalescedInt4", reinterpret_cast<void*>(&aoti_torch_cpu_int4_plain_mm), {4, 5}},
      {"ExactInt4", reinterpret_cast<void*>(&aoti_torch_cpu_exact_int4_plain_mm), {5}},
      {"ExactInt5", reinterpret_cast<void*>(&aoti_torch_cpu_exact_int5_plain_mm), {6}},
      {"PlanarInt6", reinterpret_cast<void*>(&aoti_torch_cpu_int6_plain_mm), {3, 4}},
      {"Int8", reinterpret_cast<void*>(&aoti_torch_cpu_int8_plain_mm), {3}},
  };
  return all;
}

const Function& function_of(FormatId format) {
  return *std::ranges::find_if(functions(), [&](const Function& function) {
    return std::string_view(function.type) == format_info(format).name;
  });
}

int32_t call(const Function& function, const Tensor* self, const std::vector<const Tensor*>& planes,
             int64_t group_size, AtenTensorHandle* result) {
  intptr_t slots[9] = {reinterpret_cast<intptr_t>(self)};
  size_t next = 1;
  for (const Tensor* plane : planes) slots[next++] = reinterpret_cast<intptr_t>(plane);
  slots[next++] = group_size;
  slots[next++] = reinterpret_cast<intptr_t>(result);
  return reinterpret_cast<AnyFunction>(function.address)(
      slots[0], slots[1], slots[2], slots[3], slots[4], slots[5], slots[6], slots[7], slots[8]);
}

std::vector<const Tensor*> pointers_to(const std::vector<Tensor>& planes) {
  std::vector<const Tensor*> pointers;
  for (const Tensor& plane : planes) pointers.push_back(&plane);
  return pointers;
}

class ShimWeightTypes : public ::testing::TestWithParam<FormatId> {
 protected:
  static Weight weight() { return random_weight(GetParam(), kN, kK, kGroup, 40); }
  static constexpr int64_t kN = 24, kK = 512, kGroup = 32;  // every format holds it
};

TEST_P(ShimWeightTypes, OthersAreInvalidType) {
  const Weight w = weight();
  const Tensor x = activations(kK);
  for (const Function& function : functions()) {
    if (std::string_view(function.type) == w.info().name) continue;
    for (const size_t arity : function.arity) {
      for (const bool repeat : {false, true}) {
        SCOPED_TRACE(std::string(function.type) + " with " + std::to_string(arity));
        std::vector<const Tensor*> planes = pointers_to(w.planes());
        planes.resize(arity, repeat ? planes.back() : nullptr);
        expect_failure(Status::InvalidType, [&](AtenTensorHandle* result) {
          return call(function, &x, planes, kGroup, result);
        });
      }
    }
  }
}
INSTANTIATE_TEST_SUITE_P(All, ShimWeightTypes, ::testing::ValuesIn(all_formats()),
                         [](const auto& info) { return format_name(info.param); });

class ShimPlainMm : public ShimWeightTypes {
 protected:
  static int32_t call_with(const Tensor* self, const std::vector<const Tensor*>& planes,
                           int64_t group_size, AtenTensorHandle* result) {
    return call(function_of(GetParam()), self, planes, group_size, result);
  }
  static void expect_refused(Status status, const Tensor& self, const std::vector<Tensor>& planes,
                             int64_t group_size = kGroup) {
    expect_failure(status, [&](AtenTensorHandle* result) {
      return call_with(&self, pointers_to(planes), group_size, result);
    });
  }
};
INSTANTIATE_TEST_SUITE_P(Plain, ShimPlainMm, ::testing::ValuesIn(plain_formats()),
                         [](const auto& info) { return format_name(info.param); });

TEST_P(ShimPlainMm, MultipliesEveryDtypeAndStrides) {
  for (const int64_t wanted : {16, 32, 64}) {
    const Weight w = random_weight(GetParam(), 19, kK, group_for(GetParam(), wanted), 41);
    for (const DType dtype : {DType::Float32, DType::Float16, DType::BFloat16}) {
      for (const Tensor& x : {activations(kK, dtype), activations(kK, dtype).transpose(0, 1),
                              activations(kK + 188, dtype).slice(2, 8, kK + 8)}) {
        AtenTensorHandle result = nullptr;
        ASSERT_EQ(call_with(&x, pointers_to(w.planes()), w.group_size(), &result), 0)
            << last_error();
        expect_product(take(result), x, w);
      }
    }
  }
}

TEST_P(ShimPlainMm, NoRowsGiveNoRows) {
  const Tensor x = activations(kK).slice(1, 0, 0);
  AtenTensorHandle result = nullptr;
  ASSERT_EQ(call_with(&x, pointers_to(weight().planes()), kGroup, &result), 0) << last_error();
  const Tensor y = take(result);
  EXPECT_EQ(y.numel(), 0);
  EXPECT_EQ(y.size(2), kN);
}

// Metadata groups first, as the native formats have it, is refused by its shape.
TEST_P(ShimPlainMm, MetadataGroupsFirstIsAnInvalidArgument) {
  const Weight w = weight();
  int tried = 0;
  for (size_t i = 0; i < w.planes().size(); ++i) {
    if (w.info().planes[i].per == Per::Weight) continue;
    std::vector<Tensor> planes = w.planes();
    planes[i] = planes[i].transpose(0, 1).contiguous();
    expect_refused(Status::InvalidArgument, activations(kK), planes);
    ++tried;
  }
  EXPECT_GT(tried, 0);
}

TEST_P(ShimPlainMm, EveryPlaneMustHaveItsShapeAndDtype) {
  const Weight w = weight();
  for (size_t i = 0; i < w.planes().size(); ++i) {
    std::vector<Tensor> planes = w.planes();
    planes[i] = w.planes()[i].slice(0, 0, kN - 1).contiguous();
    expect_refused(Status::InvalidArgument, activations(kK), planes);
    planes[i] = w.planes()[i].to(DType::Float32);
    expect_refused(Status::InvalidType, activations(kK), planes);
  }
}

TEST_P(ShimPlainMm, BadArgumentsAreRefused) {
  const Weight w = weight();
  for (const int64_t group_size : {-32, -16, 0, 8, 96, 1024}) {
    expect_refused(Status::InvalidArgument, activations(kK), w.planes(), group_size);
  }
  expect_refused(Status::InvalidArgument, activations(kK - 32), w.planes());
  expect_refused(Status::InvalidArgument, Tensor::scalar(1.0f), w.planes());
  expect_refused(Status::InvalidArgument, Tensor(), w.planes());
  expect_refused(Status::InvalidType, Tensor::empty(std::vector<int64_t>{2, kK}, DType::Int32),
                 w.planes());
  std::vector<Tensor> without_codes = w.planes();
  without_codes[0] = Tensor();
  expect_refused(Status::InvalidArgument, activations(kK), without_codes);
}

TEST_P(ShimPlainMm, NullsAreRefused) {
  const Weight w = weight();
  const Tensor x = activations(kK);
  const std::vector<const Tensor*> planes = pointers_to(w.planes());
  expect_failure(Status::InvalidArgument, [&](AtenTensorHandle* result) {
    return call_with(nullptr, planes, kGroup, result);
  });
  for (size_t missing = 0; missing < planes.size(); ++missing) {
    std::vector<const Tensor*> some = planes;
    some[missing] = nullptr;
    expect_failure(Status::InvalidArgument,
                   [&](AtenTensorHandle* result) { return call_with(&x, some, kGroup, result); });
  }
  EXPECT_EQ(call_with(&x, planes, kGroup, nullptr), static_cast<int32_t>(Status::InvalidArgument));
}

TEST_P(ShimPlainMm, AFailedCallLeavesNullInRet0) {
  const Weight w = weight();
  const Tensor x = activations(64);
  AtenTensorHandle result = borrowed(x);
  EXPECT_NE(call_with(&x, pointers_to(w.planes()), kGroup, &result), 0);
  EXPECT_EQ(result, nullptr);
}

// The dtypes decide before any later argument is touched: here those are not even pointers.
TEST(Int6PlainMmKinds, AreToldApartByDtype) {
  const Weight w = random_weight(kFormatId<PlanarInt6Traits<Metadata::B>>, 8, 64, 16, 42);
  const Tensor x = activations(64);
  const auto status = [&](DType scale) {
    return aoti_torch_cpu_int6_plain_mm(borrowed(x), borrowed(w.planes()[0]),
                                        borrowed(w.planes()[1]), borrowed(w.planes()[2].to(scale)),
                                        1, 2, 3);
  };
  for (const DType scale : {DType::UInt8, DType::Float16, DType::Float32}) {
    EXPECT_EQ(status(scale), static_cast<int32_t>(Status::InvalidType)) << scale;
  }
  EXPECT_NE(std::string(last_error()).find("scale has dtype float32"), std::string::npos)
      << last_error();
  AtenTensorHandle result = nullptr;
  const Tensor steps = w.planes()[3].to(DType::Float32);
  EXPECT_EQ(
      aoti_torch_cpu_int6_plain_mm(borrowed(x), borrowed(w.planes()[0]), borrowed(w.planes()[1]),
                                   borrowed(w.planes()[2]), reinterpret_cast<intptr_t>(&steps), 16,
                                   reinterpret_cast<intptr_t>(&result)),
      static_cast<int32_t>(Status::InvalidType));
}

}  // namespace
}  // namespace aotiny
