// The tests that every plain product's CUDA function has. A file a function says what it is:
//
//   struct Int8PlainMm {
//     static AOTITorchError call(self, planes, group_size, ret0);   // with the format's handles
//     static std::vector<FormatId> formats();                       // that it takes
//     static constexpr size_t kNumPlanes;                           // of its shortest call
//     static constexpr int64_t kWrongGroupSizes[];                  // for K = 512 in groups of 64
//   };
//   INSTANTIATE_TYPED_TEST_SUITE_P(Int8, CudaPlainMmArguments, Int8PlainMm);
//   INSTANTIATE_TYPED_TEST_SUITE_P(Int8, CudaPlainMm, Int8PlainMm);
#pragma once

#include <functional>
#include <span>

#include "aotiny/abi/aoti_torch_cuda.h"
#include "aotiny/core/allocator.h"
#include "cuda_products.h"

namespace aotiny::cuda {

// The function with the handles of a weight's planes, in the format's order.
using PlainMmCall =
    std::function<AOTITorchError(AtenTensorHandle self, const std::vector<AtenTensorHandle>& planes,
                                 int64_t group_size, AtenTensorHandle* ret0)>;

// Refused with a sentence that contains `text`; the handle, which held something, is null after it.
inline void expect_product_refused(Status status, const std::string& text, const PlainMmCall& call,
                                   const Tensor& self, const std::vector<Tensor>& planes,
                                   int64_t group_size) {
  expect_refused_with_null(status, text, [&](AtenTensorHandle* ret0) {
    return call(borrowed(self), borrowed(planes), group_size, ret0);
  });
}

// --- without a GPU: tensors on the CPU ----------------------------------------------------------

inline void expect_nulls_refused(const PlainMmCall& call, const Weight& weight) {
  const Tensor x = random_tensor({2, weight.k()}, 1);
  const std::vector<AtenTensorHandle> planes = borrowed(weight.planes());
  const auto refused = [&](AtenTensorHandle self, const std::vector<AtenTensorHandle>& handles,
                           const char* what) {
    AtenTensorHandle ret0 = nullptr;
    expect_refused(call(self, handles, weight.group_size(), &ret0), Status::InvalidArgument, what);
    EXPECT_EQ(ret0, nullptr);
  };
  refused(nullptr, planes, "self is null");
  for (size_t i = 0; i < planes.size(); ++i) {
    std::vector<AtenTensorHandle> handles = planes;
    handles[i] = nullptr;
    refused(borrowed(x), handles, " is null");
  }
  expect_refused(call(borrowed(x), planes, weight.group_size(), nullptr), Status::InvalidArgument,
                 "ret0 is null");
}

inline void expect_the_cpus_tensors_refused(const PlainMmCall& call, const Weight& weight) {
  expect_product_refused(Status::InvalidArgument, "self is on cpu, not on a CUDA device", call,
                         random_tensor({2, weight.k()}, 1), weight.planes(), weight.group_size());
}

// self on another GPU than the weight, and a plane on another than the others.
inline void expect_mixed_devices_refused(const PlainMmCall& call, const Weight& weight) {
  const auto refused = [&](const std::string& text, const Tensor& self,
                           const std::vector<Tensor>& planes) {
    expect_product_refused(Status::InvalidArgument, text, call, self, planes, weight.group_size());
  };
  const Tensor x = random_tensor({2, weight.k()}, 1);
  const std::vector<Tensor> planes = as_if_on_gpu(weight).planes();
  refused("is on cuda:1, the weight on cuda:0", as_if_on_gpu(x, 1), planes);
  for (size_t i = 0; i < planes.size(); ++i) {
    std::vector<Tensor> mixed = planes;
    mixed[i] = as_if_on_gpu(weight.planes()[i], 1);
    refused("cuda:1", as_if_on_gpu(x), mixed);
  }
}

// Another dtype in any plane.
inline void expect_wrong_dtypes_refused(const PlainMmCall& call, const Weight& weight) {
  const Tensor x = random_tensor({2, weight.k()}, 1);
  for (size_t i = 0; i < weight.planes().size(); ++i) {
    std::vector<Tensor> planes = weight.planes();
    planes[i] = planes[i].to(DType::Int32);
    AtenTensorHandle ret0 = nullptr;
    expect_refused(call(borrowed(x), borrowed(planes), weight.group_size(), &ret0),
                   Status::InvalidType, "int32");
    EXPECT_EQ(ret0, nullptr);
  }
}

// --- with one -----------------------------------------------------------------------------------

inline void expect_products(const PlainMmCall& call, const Weight& weight) {
  const int64_t k = weight.k();
  const Weight there = weight.to(gpu());
  for (const DType dtype : float_dtypes()) {
    const Tensor base = random_tensor({4, 3, k + 8}, 2, dtype).to(gpu());
    const Tensor x = base.slice(2, 5, 5 + k);
    for (const Tensor& self :
         {x.contiguous(), x, x.transpose(0, 1), x.select(0, 1), x.select(0, 2).select(0, 0),
          x.slice(0, 0, 0), x.slice(0, 0, 1).expand(Ints{5, 3, k})}) {
      SCOPED_TRACE(::testing::Message() << self);
      Handle y;
      ASSERT_EQ(call(borrowed(self), borrowed(there.planes()), weight.group_size(), y.out()), kOk)
          << last_error();
      Ints sizes = ints(self.sizes());
      sizes.back() = weight.n();
      EXPECT_EQ(ints(y.tensor().sizes()), sizes);
      EXPECT_EQ(y.tensor().dtype(), dtype);
      EXPECT_EQ(y.tensor().device(), gpu());
      EXPECT_TRUE(y.tensor().is_contiguous());
      if (self.numel() == 0) continue;
      const std::vector<float> values = floats_of(self.to(kCPU));
      EXPECT_LT(
          error_against(y.tensor(), reference_plain_mm(values.data(), self.numel() / k, weight)),
          tolerance(dtype));
    }
  }
}

// `group_sizes` are none that this weight can have.
inline void expect_bad_arguments_refused(const PlainMmCall& call, const Weight& weight,
                                         std::span<const int64_t> group_sizes) {
  const auto invalid = Status::InvalidArgument;
  const int64_t k = weight.k(), group_size = weight.group_size();
  const Tensor host = random_tensor({2, k}, 3), x = host.to(gpu());
  const std::vector<Tensor> planes = weight.to(gpu()).planes();
  const auto with = [&](size_t index, Tensor plane) {
    std::vector<Tensor> changed = planes;
    changed[index] = std::move(plane);
    return changed;
  };
  for (const int64_t wrong : group_sizes) {
    expect_product_refused(invalid, std::to_string(wrong), call, x, planes, wrong);
  }
  const std::string its_k = "K = " + std::to_string(k);
  expect_product_refused(invalid, its_k, call, x.slice(1, 0, k - 1), planes, group_size);
  expect_product_refused(invalid, its_k, call, Tensor::scalar(1.0f).to(gpu()), planes, group_size);
  expect_product_refused(invalid, "undefined", call, Tensor(), planes, group_size);
  for (const DType dtype : {DType::Int32, DType::Float64}) {
    expect_product_refused(Status::InvalidType, dtype_name(dtype), call, x.to(dtype), planes,
                           group_size);
  }
  expect_product_refused(invalid, "self is on cpu, not on a CUDA device", call, host, planes,
                         group_size);
  for (size_t i = 0; i < planes.size(); ++i) {
    const std::string name = weight.info().planes[i].name;
    expect_product_refused(invalid, name, call, x, with(i, planes[i].to(kCPU)), group_size);
    expect_product_refused(invalid, name, call, x, with(i, planes[i].select(0, 0)), group_size);
    AtenTensorHandle ret0 = nullptr;
    expect_refused(call(borrowed(x), borrowed(with(i, Tensor())), group_size, &ret0),
                   i == 0 ? invalid : Status::InvalidType, i == 0 ? name : "float32");
    EXPECT_EQ(ret0, nullptr);
    if (i == 0) continue;
    // One row too few; and [K/g][N], as torch's own formats have it.
    expect_product_refused(invalid, name, call, x, with(i, planes[i].slice(0, 0, weight.n() - 1)),
                           group_size);
    expect_product_refused(invalid, name, call, x, with(i, planes[i].transpose(0, 1).contiguous()),
                           group_size);
  }
}

// For want of memory at any of a call's allocations: nothing leaks, and the next call works.
inline void expect_out_of_memory(const PlainMmCall& call, const Weight& weight) {
  const Weight there = weight.to(gpu());
  const int64_t m = 64, k = weight.k(), n = weight.n();
  const Tensor x = random_tensor({m, k}, 4).to(gpu());
  const uint64_t held = cuda_interface().allocator().stats(gpu()).allocated_bytes;
  const auto y_bytes = static_cast<uint64_t>(4 * m * n), q_bytes = static_cast<uint64_t>(m * k);
  for (const uint64_t room : {y_bytes / 2, y_bytes + q_bytes / 2, y_bytes + q_bytes * 5 / 4}) {
    cuda_interface().set_memory_limit(gpu(), held + room);
    expect_product_refused(Status::MemoryAllocationFailed, "cuda:0", call, x, there.planes(),
                           weight.group_size());
    EXPECT_EQ(cuda_interface().allocator().stats(gpu()).allocated_bytes, held) << room;
  }
  cuda_interface().set_memory_limit(gpu(), 0);
  Handle y;
  EXPECT_EQ(call(borrowed(x), borrowed(there.planes()), weight.group_size(), y.out()), kOk)
      << last_error();
}

// The weight of any format but those `taken` is refused, whose planes are given as they come.
inline void expect_other_formats_refused(const PlainMmCall& call, size_t num_planes,
                                         const std::vector<FormatId>& taken) {
  const Tensor x = random_tensor({2, 256}, 5).to(gpu());
  for (const FormatId format : all_formats()) {
    if (std::ranges::find(taken, format) != taken.end()) continue;
    SCOPED_TRACE(format_name(format));
    const Weight weight = random_weight(format, 16, 256, group_for(format, 32), 6).to(gpu());
    std::vector<Tensor> planes = weight.planes();
    while (planes.size() < num_planes) planes.push_back(planes.back());
    AtenTensorHandle ret0 = nullptr;
    const AOTITorchError code = call(borrowed(x), borrowed(planes), 32, &ret0);
    EXPECT_TRUE(code == static_cast<int32_t>(Status::InvalidType) ||
                code == static_cast<int32_t>(Status::InvalidArgument))
        << code << ' ' << last_error();
    EXPECT_EQ(ret0, nullptr);
  }
}

// --- the suites ---------------------------------------------------------------------------------

inline Weight plain_weight(FormatId format, int64_t group_size = 64) {
  return random_weight(format, 35, 512, group_for(format, group_size), 30);
}

template <class Op>
class CudaPlainMmArguments : public ::testing::Test {};
TYPED_TEST_SUITE_P(CudaPlainMmArguments);

TYPED_TEST_P(CudaPlainMmArguments, AreCheckedWithoutAGpu) {
  for (const FormatId format : TypeParam::formats()) {
    SCOPED_TRACE(format_name(format));
    expect_nulls_refused(TypeParam::call, plain_weight(format));
    expect_wrong_dtypes_refused(TypeParam::call, plain_weight(format));
    expect_the_cpus_tensors_refused(TypeParam::call, plain_weight(format));
    expect_mixed_devices_refused(TypeParam::call, plain_weight(format));
  }
}

REGISTER_TYPED_TEST_SUITE_P(CudaPlainMmArguments, AreCheckedWithoutAGpu);

template <class Op>
class CudaPlainMm : public GpuTest {};
TYPED_TEST_SUITE_P(CudaPlainMm);

TYPED_TEST_P(CudaPlainMm, Multiplies) {
  for (const FormatId format : TypeParam::formats()) {
    SCOPED_TRACE(format_name(format));
    expect_products(TypeParam::call, plain_weight(format));
  }
}

TYPED_TEST_P(CudaPlainMm, RefusesBadArguments) {
  for (const FormatId format : TypeParam::formats()) {
    SCOPED_TRACE(format_name(format));
    expect_bad_arguments_refused(TypeParam::call, plain_weight(format),
                                 TypeParam::kWrongGroupSizes);
  }
}

TYPED_TEST_P(CudaPlainMm, RefusesOtherFormats) {
  expect_other_formats_refused(TypeParam::call, TypeParam::kNumPlanes, TypeParam::formats());
}

TYPED_TEST_P(CudaPlainMm, RunsOutOfMemory) {
  for (const FormatId format : TypeParam::formats()) {
    expect_out_of_memory(TypeParam::call, plain_weight(format));
  }
}

REGISTER_TYPED_TEST_SUITE_P(CudaPlainMm, Multiplies, RefusesBadArguments, RefusesOtherFormats,
                            RunsOutOfMemory);

}  // namespace aotiny::cuda
