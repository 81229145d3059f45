// Copies within a device, between host and device, between devices. The oracle is the copy on the
// CPU, which is compared with torch's and numpy's elsewhere and shares no code with the kernels.
#include "aotiny/kernels/copy.h"

#include <complex>
#include <numeric>

#include "gpu_test.h"

namespace aotiny::cuda {
namespace {

using Copies = GpuTest;

constexpr DType kReal[] = {DType::UInt8, DType::Int8,     DType::Int16,   DType::Int32,
                           DType::Int64, DType::Float16,  DType::Float32, DType::Float64,
                           DType::Bool,  DType::BFloat16, DType::UInt16,  DType::UInt32,
                           DType::UInt64};

// Values from 0 to 100, with fractions where the dtype has them.
Tensor sample(const Ints& sizes, DType dtype) {
  const Tensor values = Tensor::empty(sizes, DType::Float32);
  for (int64_t i = 0; i < values.numel(); ++i) {
    values.data<float>()[i] =
        static_cast<float>((i * 37) % 101) + 0.375f * static_cast<float>(i % 3);
  }
  return values.to(dtype);
}

std::vector<uint8_t> bytes_of(const Tensor& tensor) {
  const Tensor dense = tensor.to(kCPU).contiguous();
  const auto* begin = static_cast<const uint8_t*>(dense.raw_data());
  return {begin, begin + dense.numel() * static_cast<int64_t>(dense.itemsize())};
}

TEST_F(Copies, EveryPairOfRealDtypes) {
  for (const DType from : kReal) {
    const Tensor source = sample({3, 5, 7}, from).permute(Ints{2, 0, 1});
    const Tensor on_device = source.to(gpu());
    EXPECT_EQ(ints(on_device.strides()), ints(source.strides()));
    for (const DType to : kReal) {
      EXPECT_EQ(bytes_of(on_device.to(to)), bytes_of(source.to(to))) << from << " to " << to;
      const Tensor target = Tensor::empty(Ints{7, 3, 5}, to, gpu());
      target.copy_(source);  // converted on the way to the device
      EXPECT_EQ(bytes_of(target), bytes_of(source.to(to))) << from << " to " << to;
    }
  }
}

TEST_F(Copies, NegativeNumbersAndNan) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const Tensor source = tensor_of<float>({6}, {-1.5f, -128.0f, 65504.0f, 1e-8f, -0.0f, nan});
  const Tensor device = source.to(gpu());
  for (const DType to : {DType::Float64, DType::Bool}) {
    EXPECT_EQ(bytes_of(device.to(to)), bytes_of(source.to(to))) << to;
  }
  for (const DType to : {DType::Float16, DType::BFloat16}) {
    const auto got = values_of<float>(device.to(to).to(kCPU).to(DType::Float32));
    const auto expected = values_of<float>(source.to(to).to(DType::Float32));
    EXPECT_TRUE(std::equal(got.begin(), got.end() - 1, expected.begin())) << to;
    EXPECT_TRUE(std::isnan(got.back())) << to;
  }
  const Tensor whole = source.slice(0, 0, 2);
  for (const DType to : {DType::Int8, DType::UInt8, DType::Int16, DType::Int32, DType::Int64}) {
    EXPECT_EQ(bytes_of(whole.to(gpu()).to(to)), bytes_of(whole.to(to))) << to;
  }
}

TEST_F(Copies, EveryWidthWithStrides) {
  for (const DType dtype : {DType::UInt8, DType::Float16, DType::Float32, DType::Float64,
                            DType::ComplexFloat64, DType::Float8E4M3FN}) {
    const auto width = static_cast<int64_t>(itemsize(dtype));
    const Tensor raw = sample({11 * 13 * width}, DType::UInt8);
    const Tensor source = Tensor::from_blob(raw.raw_data(), Ints{11, 13}, Ints{13, 1}, 0, dtype);
    const Tensor device = source.to(gpu());
    const auto check = [&](auto&& view) {
      EXPECT_EQ(bytes_of(view(device).contiguous()), bytes_of(view(source))) << dtype;
      EXPECT_EQ(bytes_of(view(device)), bytes_of(view(source))) << dtype;
    };
    check([](const Tensor& t) { return t.transpose(0, 1); });
    check([](const Tensor& t) { return t.slice(1, 1, 12, 3); });
    check([](const Tensor& t) { return t.slice(0, 2, 9, 2).slice(1, 0, 13, 2); });
    check([](const Tensor& t) { return t.select(1, 4); });
    check([](const Tensor& t) { return t.slice(0, 3, 4).expand(Ints{5, 13}); });
    check([](const Tensor& t) { return t.slice(0, 3, 3); });
    check([](const Tensor& t) { return t.select(0, 1).select(0, 2); });
  }
}

TEST_F(Copies, ManyDimensionsAndManyElements) {
  const Ints sizes = {2, 3, 2, 3, 2, 3, 2, 3};
  const Tensor deep = sample(sizes, DType::Int32).permute(Ints{7, 1, 5, 3, 2, 0, 6, 4});
  EXPECT_EQ(bytes_of(deep.to(gpu()).contiguous()), bytes_of(deep));
  const Tensor wide = sample({3001, 2003}, DType::Float32);
  EXPECT_EQ(bytes_of(wide.to(gpu()).transpose(0, 1).to(DType::Float16).contiguous()),
            bytes_of(wide.transpose(0, 1).to(DType::Float16)));
}

TEST_F(Copies, BroadcastAndOverlap) {
  const Tensor target = sample({4, 6}, DType::Float32).to(gpu());
  target.copy_(sample({6}, DType::Int16));
  EXPECT_EQ(
      bytes_of(target),
      bytes_of(sample({6}, DType::Float32).to(DType::Int16).to(DType::Float32).expand(Ints{4, 6})));
  const Tensor line = sample({10}, DType::Float32);
  const Tensor device = line.to(gpu());
  device.slice(0, 1, 10).copy_(device.slice(0, 0, 9));
  line.slice(0, 1, 10).copy_(line.slice(0, 0, 9));
  EXPECT_EQ(bytes_of(device), bytes_of(line));
}

TEST_F(Copies, IntoStridedHostMemory) {
  const Tensor device = sample({5, 6}, DType::Float32).to(gpu());
  const Tensor host = sample({5, 12}, DType::Float64).clone();
  const Tensor expected = host.clone();
  expected.slice(1, 0, 12, 2).copy_(device.to(kCPU));
  host.slice(1, 0, 12, 2).copy_(device);
  EXPECT_EQ(bytes_of(host), bytes_of(expected));
}

TEST_F(Copies, Zero) {
  for (const DType dtype : {DType::Bool, DType::BFloat16, DType::ComplexFloat64}) {
    const Tensor device = Tensor::empty(Ints{6, 5}, dtype, gpu());
    AOTINY_CUDA_CHECK(cudaMemset(device.raw_data(), 1, 30 * device.itemsize()));
    device.slice(1, 0, 5, 2).zero_();
    const Tensor host = device.to(kCPU);
    const auto kept = bytes_of(host.slice(1, 1, 5, 2));
    EXPECT_EQ(kept, std::vector<uint8_t>(kept.size(), 1)) << dtype;
    const auto zeros = bytes_of(host.slice(1, 0, 5, 2));
    EXPECT_EQ(zeros, std::vector<uint8_t>(zeros.size(), 0)) << dtype;
    device.zero_();
    EXPECT_EQ(bytes_of(device), std::vector<uint8_t>(30 * device.itemsize(), 0)) << dtype;
  }
}

TEST_F(Copies, WhatCannotBeConvertedIsRefused) {
  const Tensor device = Tensor::empty(Ints{2}, DType::ComplexFloat32, gpu());
  const auto text = failure(Status::InvalidType, [&] { device.to(DType::Float32); });
  EXPECT_TRUE(contains(text, "complex64")) << text;
  const Tensor host = Tensor::empty(Ints{2}, DType::Float32);
  failure(Status::InvalidType, [&] { host.copy_(device); });
  failure(Status::InvalidArgument,
          [&] { host.copy_(Tensor::empty(Ints{3}, DType::Float32, gpu())); });
  failure(Status::InvalidArgument, [&] { host.to(gpu(device_count())); });
}

TEST_F(Copies, InTheCurrentStream) {
  const Stream stream(0);
  const StreamGuard guard(0, stream.get());
  const int64_t nbytes = 64 << 20;
  const Tensor source = Tensor::empty(Ints{nbytes}, DType::UInt8, gpu());
  keep_busy(stream.get(), source.raw_data(), nbytes, 6);
  const Tensor copy = source.slice(0, 0, nbytes, 2).contiguous();
  const auto values = values_of<uint8_t>(copy.to(kCPU));
  EXPECT_EQ(std::count(values.begin(), values.end(), 6), nbytes / 2);
}

TEST_F(Copies, BetweenHostAndDeviceAreRefusedDuringACapture) {
  const Tensor device = sample({9}, DType::Float32).to(gpu());
  const Tensor host = sample({9}, DType::Float32);
  Captured graph([&] {
    const auto text = failure(Status::InvalidState, [&] { device.copy_(host); });
    EXPECT_TRUE(contains(text, "while a stream is being captured")) << text;
    failure(Status::InvalidState, [&] { device.to(kCPU); });
    device.zero_();
  });
  graph.run();
  EXPECT_EQ(values_of<float>(device.to(kCPU)), std::vector<float>(9, 0.0f));
}

TEST_F(Copies, BetweenDevices) {
  if (device_count() < 2) GTEST_SKIP() << "there is one GPU";
  for (const DType dtype : {DType::Float32, DType::UInt8}) {
    const Tensor host = sample({33, 17}, dtype);
    const Tensor first = host.to(gpu(0));
    EXPECT_EQ(bytes_of(first.to(gpu(1))), bytes_of(host));
    EXPECT_EQ(bytes_of(first.transpose(0, 1).to(gpu(1))), bytes_of(host.transpose(0, 1)));
    const Tensor target = Tensor::empty(Ints{4, 17, 33}, DType::Float64, gpu(1));
    target.copy_(first.transpose(0, 1));
    EXPECT_EQ(bytes_of(target),
              bytes_of(host.transpose(0, 1).to(DType::Float64).expand(Ints{4, 17, 33})));
    EXPECT_EQ(bytes_of(target.select(0, 2).to(gpu(0))), bytes_of(target.select(0, 2)));
  }
}

TEST_F(Copies, BetweenDevicesKeepTheOrderOfBothStreams) {
  if (device_count() < 2) GTEST_SKIP() << "there is one GPU";
  const Stream from(0), to(1);
  const StreamGuard guard_from(0, from.get());
  const StreamGuard guard_to(1, to.get());
  const int64_t nbytes = 64 << 20;
  const Tensor source = Tensor::empty(Ints{nbytes}, DType::UInt8, gpu(0));
  {
    const DeviceGuard guard(0);
    keep_busy(from.get(), source.raw_data(), nbytes, 4);
  }
  const Tensor target = source.to(gpu(1));
  {
    const DeviceGuard guard(0);
    keep_busy(from.get(), source.raw_data(), nbytes, 5);
  }
  const auto values = values_of<uint8_t>(target.to(kCPU));
  EXPECT_EQ(std::count(values.begin(), values.end(), 4), nbytes);
}

}  // namespace
}  // namespace aotiny::cuda
