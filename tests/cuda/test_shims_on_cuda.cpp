// The functions of libaotiny that take tensors of any device, with CUDA tensors.
#include <algorithm>
#include <sstream>

#include "gpu_test.h"

namespace aotiny::cuda {
namespace {

using ShimsOnCuda = GpuTest;

constexpr int32_t kCuda = static_cast<int32_t>(DeviceType::CUDA);
constexpr int32_t kFloat32 = static_cast<int32_t>(DType::Float32);

TEST_F(ShimsOnCuda, EmptyStridedAndFromBlob) {
  const Ints sizes = {3, 4}, strides = {1, 3};
  Handle made;
  ASSERT_EQ(
      aoti_torch_empty_strided(2, sizes.data(), strides.data(), kFloat32, kCuda, 0, made.out()),
      kOk)
      << last_error();
  EXPECT_EQ(made.tensor().device(), gpu());
  Handle view;
  ASSERT_EQ(aoti_torch_create_tensor_from_blob_v2(made.tensor().raw_data(), 2, sizes.data(),
                                                  strides.data(), 0, kFloat32, kCuda, 0, view.out(),
                                                  0, nullptr, 0),
            kOk);
  ASSERT_EQ(aoti_torch_zero_(made), kOk);
  EXPECT_EQ(values_of<float>(view.tensor().to(kCPU)), std::vector<float>(12, 0.0f));
  Handle allocated;
  ASSERT_EQ(aoti_torch_create_tensor_from_blob(nullptr, 2, sizes.data(), strides.data(), 0,
                                               kFloat32, kCuda, 0, allocated.out()),
            kOk);
  EXPECT_NE(allocated.tensor().raw_data(), nullptr);
  expect_refused_with_null(Status::InvalidArgument, "no device cuda:99", [&](auto* ret) {
    return aoti_torch_empty_strided(2, sizes.data(), strides.data(), kFloat32, kCuda, 99, ret);
  });
}

// What says of itself to be on a GPU here is read by nobody: no GPU is needed.
TEST(BlobsOnCuda, BeginAtMultiplesOfTheirElements) {
  alignas(16) uint8_t memory[64];
  const Ints sizes = {2}, strides = {1};
  for (const DType dtype : {DType::UInt8, DType::BFloat16, DType::Float32, DType::Int64,
                            DType::ComplexFloat32, DType::ComplexFloat64}) {
    const auto size = static_cast<uintptr_t>(itemsize(dtype));
    for (uintptr_t shift = 0; shift < 16; ++shift) {
      SCOPED_TRACE(testing::Message() << dtype << " at " << shift);
      const auto make = [&](Device device) {
        return Tensor::from_blob(memory + shift, sizes, strides, 0, dtype, device);
      };
      EXPECT_EQ(make(kCPU).raw_data(), memory + shift);
      if (shift % size == 0) {
        EXPECT_EQ(make(gpu()).raw_data(), memory + shift);
        continue;
      }
      std::ostringstream sentence;
      sentence << "data begins at address " << reinterpret_cast<uintptr_t>(memory + shift)
               << " on cuda:0, not a multiple of " << size << ", the size of " << dtype;
      const std::string found = failure(Status::InvalidArgument, [&] { make(gpu()); });
      EXPECT_TRUE(contains(found, sentence.str())) << found;
      expect_refused_with_null(Status::InvalidArgument, sentence.str(), [&](AtenTensorHandle* ret) {
        return aoti_torch_create_tensor_from_blob(memory + shift, 1, sizes.data(), strides.data(),
                                                  0, static_cast<int32_t>(dtype), kCuda, 0, ret);
      });
    }
  }
  const Ints none = {0};
  EXPECT_EQ(Tensor::from_blob(memory + 1, none, strides, 0, DType::Float32, gpu()).numel(), 0);
}

TEST(BlobsOnCuda, ViewsOfAnotherDtypeToo) {
  alignas(16) double memory[5];
  const Ints sizes = {4}, strides = {1};
  const auto complex = [&](int64_t shift, Device device) {
    return Tensor::from_blob(memory + shift, sizes, strides, 0, DType::Float64, device)
        .view_dtype(DType::ComplexFloat64);
  };
  EXPECT_EQ(complex(0, gpu()).numel(), 2);
  EXPECT_EQ(complex(1, kCPU).numel(), 2);
  EXPECT_TRUE(contains(failure(Status::InvalidArgument, [&] { complex(1, gpu()); }),
                       "not aligned for complex128, which wants a multiple of 16"));
}

TEST_F(ShimsOnCuda, CopiesAndClones) {
  const Tensor host = tensor_of<float>({2, 3}, {1, 2, 3, 4, 5, 6});
  Handle source(host), device(Tensor::empty(Ints{2, 3}, DType::Float32, gpu()));
  ASSERT_EQ(aoti_torch_copy_(device, source, 0), kOk) << last_error();
  Handle transposed(device.tensor().transpose(0, 1)), clone, preserved;
  ASSERT_EQ(aoti_torch_clone(transposed, clone.out()), kOk);
  EXPECT_EQ(ints(clone.tensor().strides()), (Ints{1, 3}));
  ASSERT_EQ(aoti_torch_clone_preserve_strides(transposed, preserved.out()), kOk);
  EXPECT_EQ(values_of<float>(preserved.tensor().to(kCPU)), (std::vector<float>{1, 4, 2, 5, 3, 6}));
  Handle back(Tensor::empty(Ints{2, 3}, DType::Float32));
  ASSERT_EQ(aoti_torch_tensor_copy_(device, back), kOk);
  EXPECT_EQ(values_of<float>(back.tensor()), values_of<float>(host));
  Handle wrong(Tensor::empty(Ints{5}, DType::Float32, gpu()));
  expect_refused(aoti_torch_copy_(wrong, source, 0), Status::InvalidArgument, "[2, 3]");
}

TEST_F(ShimsOnCuda, Items) {
  Handle number(Tensor::scalar(int64_t{-42}).to(gpu()));
  int64_t as_int = 0;
  float as_float = 0;
  bool as_bool = false;
  ASSERT_EQ(aoti_torch_item_int64(number, &as_int), kOk) << last_error();
  ASSERT_EQ(aoti_torch_item_float32(number, &as_float), kOk);
  ASSERT_EQ(aoti_torch_item_bool(number, &as_bool), kOk);
  EXPECT_EQ(as_int, -42);
  EXPECT_EQ(as_float, -42.0f);
  EXPECT_TRUE(as_bool);
  uint8_t byte = 7;
  expect_refused(aoti_torch_item_uint8(number, &byte), Status::InvalidArgument, "-42");
  Handle two(Tensor::empty(Ints{2}, DType::Int64, gpu()));
  expect_refused(aoti_torch_item_int64(two, &as_int), Status::InvalidArgument, "2 elements");
}

TEST_F(ShimsOnCuda, ViewsAndAliases) {
  Handle base(tensor_of<float>({6}, {0, 1, 2, 3, 4, 5}).to(gpu())), view, alias;
  const Ints sizes = {2, 2}, strides = {3, 1};
  ASSERT_EQ(aoti_torch__reinterpret_tensor(base, 2, sizes.data(), strides.data(), 1, view.out()),
            kOk);
  EXPECT_EQ(values_of<float>(view.tensor().to(kCPU)), (std::vector<float>{1, 2, 4, 5}));
  ASSERT_EQ(aoti_torch_assign_tensors_out(view, alias.out()), kOk);
  EXPECT_EQ(alias.tensor().raw_data(), view.tensor().raw_data());
  Handle other(Tensor{});
  ASSERT_EQ(aoti_torch_assign_tensors(base, other), kOk);
  EXPECT_EQ(other.tensor().device(), gpu());
}

template <class T>
void expect_item(const char* name, AOTITorchError (*item)(AtenTensorHandle, T*),
                 AtenTensorHandle tensor, T expected) {
  T value{};
  EXPECT_EQ(item(tensor, &value), kOk) << name << ": " << last_error();
  EXPECT_EQ(value, expected) << name;
}

TEST_F(ShimsOnCuda, ItemsOfEveryDtypeAsEveryOther) {
  for (const DType dtype : {DType::UInt8, DType::Int8, DType::Int16, DType::Int32, DType::Int64,
                            DType::Float16, DType::Float32, DType::Float64, DType::Bool,
                            DType::BFloat16, DType::UInt16, DType::UInt32, DType::UInt64}) {
    // The element is in the middle of others.
    const Tensor row = tensor_of<float>({3}, {0, 1, 0}).to(dtype).to(gpu());
    const Handle one(row.slice(0, 1, 2));
    SCOPED_TRACE(testing::Message() << dtype);
    expect_item<float>("float32", aoti_torch_item_float32, one, 1.0f);
    expect_item<double>("float64", aoti_torch_item_float64, one, 1.0);
    expect_item<uint8_t>("uint8", aoti_torch_item_uint8, one, 1);
    expect_item<uint16_t>("uint16", aoti_torch_item_uint16, one, 1);
    expect_item<uint32_t>("uint32", aoti_torch_item_uint32, one, 1);
    expect_item<uint64_t>("uint64", aoti_torch_item_uint64, one, 1);
    expect_item<int8_t>("int8", aoti_torch_item_int8, one, 1);
    expect_item<int16_t>("int16", aoti_torch_item_int16, one, 1);
    expect_item<int32_t>("int32", aoti_torch_item_int32, one, 1);
    expect_item<int64_t>("int64", aoti_torch_item_int64, one, 1);
    expect_item<bool>("bool", aoti_torch_item_bool, one, true);
    expect_item<uint16_t>("float16", aoti_torch_item_float16, one, Float16(1.0f).bits);
    expect_item<uint16_t>("bfloat16", aoti_torch_item_bfloat16, one, BFloat16(1.0f).bits);
  }
}

TEST_F(ShimsOnCuda, AnItemWaitsForTheCurrentStreamOnly) {
  const Stream stream(0);
  const StreamGuard guard(0, stream.get());
  const int64_t nbytes = 64 << 20;
  const Tensor bytes = Tensor::empty(Ints{nbytes}, DType::UInt8, gpu());
  keep_busy(stream.get(), bytes.raw_data(), static_cast<size_t>(nbytes), 9);
  const Handle last(bytes.select(0, nbytes - 1));
  expect_item<uint8_t>("uint8", aoti_torch_item_uint8, last, 9);
}

TEST_F(ShimsOnCuda, WhatWaitsIsRefusedDuringACapture) {
  const Tensor host = tensor_of<float>({2}, {5, 6});
  const Handle source(host.to(gpu())), target(Tensor::empty(Ints{2}, DType::Float32, gpu()));
  const Handle one(source.tensor().select(0, 1)), on_host(host);
  Captured graph([&] {
    float value = -1;
    expect_refused(aoti_torch_item_float32(one, &value), Status::InvalidState,
                   "while a stream is being captured");
    expect_refused(aoti_torch_copy_(target, on_host, 0), Status::InvalidState,
                   "while a stream is being captured");
    EXPECT_EQ(value, -1);
    // The rest becomes part of the graph, its memory included.
    Handle clone, made, preserved;
    const Ints sizes = {2}, strides = {1};
    ASSERT_EQ(aoti_torch_clone(source, clone.out()), kOk) << last_error();
    ASSERT_EQ(aoti_torch_clone_preserve_strides(clone, preserved.out()), kOk) << last_error();
    ASSERT_EQ(
        aoti_torch_empty_strided(1, sizes.data(), strides.data(), kFloat32, kCuda, 0, made.out()),
        kOk)
        << last_error();
    ASSERT_EQ(aoti_torch_zero_(made), kOk);
    ASSERT_EQ(aoti_torch_copy_(made, preserved, 0), kOk);
    ASSERT_EQ(aoti_torch_copy_(target, made, 0), kOk);
  });
  for (const float value : {1.0f, 2.0f}) {
    source.tensor().copy_(Tensor::scalar(value));
    graph.run();
    EXPECT_EQ(values_of<float>(target.tensor().to(kCPU)), (std::vector<float>{value, value}));
  }
}

TEST_F(ShimsOnCuda, OutOfMemory) {
  const Handle big(Tensor::empty(Ints{1024, 1024}, DType::Float32, gpu()));
  const Handle view(big.tensor().slice(1, 0, 1024, 2));
  const Handle small(Tensor::empty(Ints{1000}, DType::Int16, gpu()));
  big.tensor().zero_();
  const Ints sizes = {1 << 20}, strides = {1};
  {
    const MemoryLimit limit(1 << 20);
    const auto refused = [](auto&& call) {
      expect_refused_with_null(Status::MemoryAllocationFailed, "the limit is", call);
    };
    refused([&](auto* ret) {
      return aoti_torch_empty_strided(1, sizes.data(), strides.data(), kFloat32, kCuda, 0, ret);
    });
    expect_refused_with_null(
        Status::MemoryAllocationFailed, "cannot allocate 4194304 bytes on cuda:0", [&](auto* ret) {
          return aoti_torch_create_tensor_from_blob(nullptr, 1, sizes.data(), strides.data(), 0,
                                                    kFloat32, kCuda, 0, ret);
        });
    refused([&](auto* ret) { return aoti_torch_clone(big, ret); });
    refused([&](auto* ret) { return aoti_torch_clone(view, ret); });
    refused([&](auto* ret) { return aoti_torch_clone_preserve_strides(view, ret); });
    // What needs no memory, or little, goes on.
    Handle alias, clone;
    EXPECT_EQ(aoti_torch_new_tensor_handle(big, alias.out()), kOk);
    EXPECT_EQ(aoti_torch_clone(small, clone.out()), kOk) << last_error();
    EXPECT_EQ(aoti_torch_zero_(view), kOk) << last_error();
  }
  Handle clone;
  ASSERT_EQ(aoti_torch_clone(big, clone.out()), kOk) << last_error();
  const auto values = values_of<float>(clone.tensor().to(kCPU));
  EXPECT_EQ(std::count(values.begin(), values.end(), 0.0f), 1 << 20);
}

TEST_F(ShimsOnCuda, SizesThatCannotBe) {
  const auto refused = [](const char* text, const Ints& sizes, const Ints& strides) {
    const auto ndim = static_cast<int64_t>(sizes.size());
    expect_refused_with_null(Status::InvalidArgument, text, [&](auto* ret) {
      return aoti_torch_empty_strided(ndim, sizes.data(), strides.data(), kFloat32, kCuda, 0, ret);
    });
    expect_refused_with_null(Status::InvalidArgument, text, [&](auto* ret) {
      return aoti_torch_create_tensor_from_blob(nullptr, ndim, sizes.data(), strides.data(), 0,
                                                kFloat32, kCuda, 0, ret);
    });
  };
  const int64_t huge = int64_t{1} << 40;
  refused("elements of shape [1099511627776, 1099511627776] overflows", {huge, huge}, {huge, 1});
  refused("extent of shape", {2, 3}, {INT64_MAX, 2});
  refused("4611686018427387904 elements of 4 bytes overflow", {int64_t{1} << 62}, {1});
  refused("-3", {2, -3}, {3, 1});
  refused("-1", {2, 3}, {3, -1});
  const Ints size = {3}, stride = {1};
  expect_refused_with_null(Status::InvalidType, "77", [&](auto* ret) {
    return aoti_torch_empty_strided(1, size.data(), stride.data(), 77, kCuda, 0, ret);
  });
  expect_refused_with_null(Status::InvalidArgument, "device type code 5", [&](auto* ret) {
    return aoti_torch_empty_strided(1, size.data(), stride.data(), kFloat32, 5, 0, ret);
  });
  expect_refused_with_null(Status::InvalidArgument,
                           "no device cuda:" + std::to_string(device_count()), [&](auto* ret) {
                             return aoti_torch_empty_strided(1, size.data(), stride.data(),
                                                             kFloat32, kCuda, device_count(), ret);
                           });
}

TEST_F(ShimsOnCuda, MemoryThatTheDeviceCannotUseIsRefused) {
  const Ints size = {3}, stride = {1};
  const auto create = [&](void* data, int32_t index, AtenTensorHandle* ret) {
    return aoti_torch_create_tensor_from_blob(data, 1, size.data(), stride.data(), 0, kFloat32,
                                              kCuda, index, ret);
  };
  alignas(16) static float on_the_host[3];
  int reaches_any = 0;
  AOTINY_CUDA_CHECK(cudaDeviceGetAttribute(&reaches_any, cudaDevAttrPageableMemoryAccess, 0));
  if (reaches_any == 0) {
    std::ostringstream address;
    address << static_cast<void*>(on_the_host);
    expect_refused_with_null(
        Status::InvalidArgument,
        "the memory at " + address.str() + " is not CUDA's, so cuda:0 cannot use it",
        [&](auto* ret) { return create(on_the_host, 0, ret); });
  }
  const Tensor pinned = Tensor::empty_pinned(Ints{3}, DType::Float32);
  Handle shared;
  ASSERT_EQ(create(pinned.raw_data(), 0, shared.out()), kOk) << last_error();
  ASSERT_EQ(aoti_torch_zero_(shared), kOk);
  cuda_interface().synchronize(gpu());
  EXPECT_EQ(values_of<float>(pinned), std::vector<float>(3, 0.0f));
  if (device_count() < 2) return;
  const Tensor there = Tensor::empty(Ints{3}, DType::Float32, gpu(1));
  expect_refused_with_null(Status::InvalidArgument, "is on cuda:1, not on cuda:0",
                           [&](auto* ret) { return create(there.raw_data(), 0, ret); });
}

TEST_F(ShimsOnCuda, ViewsStayInTheirStorage) {
  const Handle base(Tensor::empty(Ints{10}, DType::Float32, gpu()).slice(0, 2, 8));
  const auto refused = [&](const char* text, const Ints& sizes, const Ints& strides,
                           int64_t offset) {
    expect_refused_with_null(Status::InvalidArgument, text, [&](auto* ret) {
      return aoti_torch__reinterpret_tensor(base, static_cast<int64_t>(sizes.size()), sizes.data(),
                                            strides.data(), offset, ret);
    });
  };
  refused("needs 9 elements from there, but the storage holds 10", {9}, {1}, 0);
  refused("needs 8 elements from there, but the storage holds 10", {2, 2}, {6, 1}, 1);
  refused("-1 is negative", {2}, {1}, -3);
  refused("overflows", {2}, {1}, INT64_MAX);
  refused("overflows", {INT64_MAX, INT64_MAX}, {1, 1}, 0);
  const Ints sizes = {8}, strides = {1};
  Handle whole, pool;
  ASSERT_EQ(aoti_torch__reinterpret_tensor(base, 1, sizes.data(), strides.data(), 0, whole.out()),
            kOk);
  EXPECT_EQ(whole.tensor().raw_data(), base.tensor().raw_data());
  const Ints two = {2};
  ASSERT_EQ(aoti_torch__alloc_from_pool(base, 8, aoti_torch_dtype_float64(), 1, two.data(),
                                        strides.data(), pool.out()),
            kOk)
      << last_error();
  EXPECT_EQ(pool.tensor().device(), gpu());
  EXPECT_EQ(pool.tensor().raw_data(), static_cast<float*>(base.tensor().raw_data()) + 2);
}

TEST_F(ShimsOnCuda, HandlesShareTheirMemoryUntilTheLastOne) {
  const uint64_t before = cuda_interface().allocator().stats(gpu()).allocated_bytes;
  Handle alias, other, view;
  {
    const Handle base(tensor_of<float>({4}, {1, 2, 3, 4}).to(gpu()));
    const Ints sizes = {2}, strides = {2};
    ASSERT_EQ(aoti_torch_new_tensor_handle(base, alias.out()), kOk);
    ASSERT_EQ(aoti_torch_assign_tensors_out(alias, other.out()), kOk);
    ASSERT_EQ(aoti_torch__reinterpret_tensor(other, 1, sizes.data(), strides.data(), 1, view.out()),
              kOk);
    ASSERT_EQ(aoti_torch_zero_(view), kOk);
  }
  EXPECT_EQ(values_of<float>(alias.tensor().to(kCPU)), (std::vector<float>{1, 0, 3, 0}));
  EXPECT_EQ(cuda_interface().allocator().stats(gpu()).allocated_bytes, before + 16);
  int32_t type = -1, index = -1, layout = -1;
  int64_t nbytes = -1;
  EXPECT_EQ(aoti_torch_get_device_type(alias, &type), kOk);
  EXPECT_EQ(aoti_torch_get_device_index(alias, &index), kOk);
  EXPECT_EQ(aoti_torch_get_layout(alias, &layout), kOk);
  EXPECT_EQ(aoti_torch_get_storage_size(alias, &nbytes), kOk);
  EXPECT_EQ(type, kCuda);
  EXPECT_EQ(index, 0);
  EXPECT_EQ(layout, aoti_torch_layout_strided());
  EXPECT_EQ(nbytes, 16);
  const Handle undefined{Tensor()};
  expect_refused(aoti_torch_assign_tensors(nullptr, alias), Status::InvalidArgument, "src is null");
  expect_refused(aoti_torch_zero_(undefined), Status::InvalidArgument, "self is undefined");
  expect_refused_with_null(Status::InvalidArgument, "self is undefined",
                           [&](auto* ret) { return aoti_torch_clone(undefined, ret); });
}

TEST_F(ShimsOnCuda, CopiesThatMayBeUnderWay) {
  const int64_t numel = 1 << 20;
  const Handle pinned(Tensor::empty_pinned(Ints{numel}, DType::Int32));
  for (int64_t i = 0; i < numel; ++i) {
    pinned.tensor().data<int32_t>()[i] = static_cast<int32_t>(i);
  }
  const Handle there(Tensor::empty(Ints{numel}, DType::Int32, gpu()));
  const Handle back(Tensor::empty_pinned(Ints{numel}, DType::Int32));
  ASSERT_EQ(aoti_torch_copy_(there, pinned, 1), kOk) << last_error();
  ASSERT_EQ(aoti_torch_copy_(back, there, 1), kOk) << last_error();
  cuda_interface().synchronize(gpu());
  EXPECT_EQ(values_of<int32_t>(back.tensor()), values_of<int32_t>(pinned.tensor()));
}

TEST_F(ShimsOnCuda, OnASecondDevice) {
  if (device_count() < 2) GTEST_SKIP() << "there is one GPU";
  const Tensor host = tensor_of<float>({2, 3}, {1, 2, 3, 4, 5, 6});
  const Handle first(host.transpose(0, 1).to(gpu(0)));
  const Ints sizes = {3, 2}, strides = {2, 1};
  Handle made, clone, preserved, view;
  ASSERT_EQ(
      aoti_torch_empty_strided(2, sizes.data(), strides.data(), kFloat32, kCuda, 1, made.out()),
      kOk)
      << last_error();
  ASSERT_EQ(aoti_torch_copy_(made, first, 0), kOk) << last_error();
  ASSERT_EQ(aoti_torch_clone(made, clone.out()), kOk);
  ASSERT_EQ(aoti_torch_clone_preserve_strides(made, preserved.out()), kOk);
  const Ints none = {};
  ASSERT_EQ(aoti_torch__reinterpret_tensor(clone, 0, none.data(), none.data(), 5, view.out()), kOk);
  for (const Handle* handle : {&made, &clone, &preserved}) {
    EXPECT_EQ(handle->tensor().device(), gpu(1));
    EXPECT_EQ(values_of<float>(handle->tensor().to(kCPU)), (std::vector<float>{1, 4, 2, 5, 3, 6}));
  }
  expect_item<float>("float32", aoti_torch_item_float32, view, 6.0f);
  ASSERT_EQ(aoti_torch_zero_(made), kOk);
  ASSERT_EQ(aoti_torch_copy_(first, made, 0), kOk);
  EXPECT_EQ(values_of<float>(first.tensor().to(kCPU)), std::vector<float>(6, 0.0f));
  int32_t index = -1;
  EXPECT_EQ(aoti_torch_get_device_index(clone, &index), kOk);
  EXPECT_EQ(index, 1);
}

TEST_F(ShimsOnCuda, TheCpusOperatorsRefuseThem) {
  Handle matrix(Tensor::empty(Ints{2, 2}, DType::Float32, gpu()));
  expect_refused(aoti_torch_cpu_mm_out(matrix, matrix, matrix), Status::InvalidArgument, "cuda:0");
}

}  // namespace
}  // namespace aotiny::cuda
