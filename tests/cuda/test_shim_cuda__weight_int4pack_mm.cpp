// aoti_torch_cuda__weight_int4pack_mm: against the CPU's function of that name, and what it
// refuses. Against torch's own op: tests/python/test_cuda_tile_packed.py.
#include "aotiny/abi/aoti_torch_cuda.h"
#include "cuda_weights.h"

namespace aotiny::cuda {
namespace {

using namespace aotiny::testing;
using testing::tensor_of;
using WeightInt4PackMm = GpuTest;

constexpr int64_t kN = 24, kK = 256;
constexpr FormatId kFormats[] = {kFormatId<Int4TilePackedTraits<2>>,
                                 kFormatId<Int4TilePackedTraits<4>>,
                                 kFormatId<Int4TilePackedTraits<8>>};

// The arguments of a good call, each of which a test replaces.
struct Arguments {
  Tensor self, mat2;
  int64_t group_size;
  Tensor pairs;

  explicit Arguments(Device device, FormatId format = kFormats[2], int64_t group = 64)
      : group_size(group) {
    const Weight weight = random_weight(format, kN, kK, group, 1);
    self = tensor_of(gaussian(3 * kK, 2), {3, kK}, DType::BFloat16).to(device);
    mat2 = weight.planes()[0].to(device);
    pairs = weight.planes()[1].to(device);
  }

  AOTITorchError call(AtenTensorHandle* ret) const {
    const Handle a(self), b(mat2), c(pairs);
    return aoti_torch_cuda__weight_int4pack_mm(a, b, group_size, c, ret);
  }
  void expect_refused(Status status, const std::string& text) const {
    expect_refused_with_null(status, text, [&](AtenTensorHandle* ret) { return call(ret); });
  }
};

Tensor empty(const Ints& sizes, DType dtype, Device device = gpu()) {
  return Tensor::empty(sizes, dtype, device);
}

TEST(WeightInt4PackMmArguments, NullsAndOtherDevicesAreRefused) {
  const Arguments good(kCPU);
  const Handle self(good.self), mat2(good.mat2), pairs(good.pairs);
  const auto refuse = [&](AtenTensorHandle a, AtenTensorHandle b, AtenTensorHandle c,
                          const char* text) {
    expect_refused_with_null(Status::InvalidArgument, text, [&](AtenTensorHandle* ret) {
      return aoti_torch_cuda__weight_int4pack_mm(a, b, 64, c, ret);
    });
  };
  refuse(nullptr, mat2, pairs, "self is null");
  refuse(self, mat2, pairs, "self is on cpu, not on a CUDA device");
  expect_refused(aoti_torch_cuda__weight_int4pack_mm(self, mat2, 64, pairs, nullptr),
                 Status::InvalidArgument, "ret0 is null");
  Arguments undefined(kCPU);
  undefined.self = Tensor();
  undefined.expect_refused(Status::InvalidArgument, "self is undefined");
}

TEST_F(WeightInt4PackMm, AgreesWithTheCpu) {
  for (const FormatId format : kFormats) {
    for (const int64_t group_size : {32, 64, 128, 256}) {
      for (const DType dtype : {DType::Float32, DType::Float16, DType::BFloat16}) {
        Arguments arguments(gpu(), format, group_size), host(kCPU, format, group_size);
        host.self = host.self.to(dtype);
        arguments.self = arguments.self.to(dtype);
        Handle result, expected;
        ASSERT_EQ(arguments.call(result.out()), kOk) << last_error();
        const Handle a(host.self), b(host.mat2), c(host.pairs);
        ASSERT_EQ(aoti_torch_cpu__weight_int4pack_mm(a, b, group_size, c, expected.out()), kOk);
        EXPECT_EQ(result.tensor().dtype(), dtype);
        EXPECT_EQ(result.tensor().device(), gpu());
        EXPECT_EQ(ints(result.tensor().sizes()), (Ints{3, kN}));
        // The device rounds weights to the dtype of activations, the CPU does not.
        const double bound = dtype == DType::Float32 ? 1e-6 : dtype == DType::Float16 ? 1e-3 : 6e-3;
        EXPECT_LT(relative_error(floats_of(result.tensor().to(kCPU)), floats_of(expected.tensor())),
                  bound)
            << format_name(format) << " in groups of " << group_size << ' ' << dtype;
      }
    }
  }
}

TEST_F(WeightInt4PackMm, TakesStridesAndNoRows) {
  const Arguments good(gpu());
  Arguments strided = good;
  strided.self = good.self.transpose(0, 1).contiguous().transpose(0, 1);
  const Tensor wide = empty({kN / 8, kK / 128 + 2, 32, 4}, DType::Int32);
  wide.zero_();
  strided.mat2 = wide.slice(1, 1, -1);
  strided.mat2.copy_(good.mat2);
  strided.pairs = empty({kK / 64, kN + 6, 2}, DType::BFloat16).slice(1, 2, 2 + kN);
  strided.pairs.copy_(good.pairs);
  Handle result, expected, none;
  ASSERT_EQ(strided.call(result.out()), kOk) << last_error();
  ASSERT_EQ(good.call(expected.out()), kOk) << last_error();
  EXPECT_EQ(bytes_of(result.tensor()), bytes_of(expected.tensor()));
  strided.self = good.self.slice(0, 0, 0);
  ASSERT_EQ(strided.call(none.out()), kOk) << last_error();
  EXPECT_EQ(ints(none.tensor().sizes()), (Ints{0, kN}));
}

TEST_F(WeightInt4PackMm, RefusesNullWeights) {
  const Arguments good(gpu());
  const Handle self(good.self), mat2(good.mat2), pairs(good.pairs);
  const auto refuse = [&](AtenTensorHandle b, AtenTensorHandle c, const char* text) {
    expect_refused_with_null(Status::InvalidArgument, text, [&](AtenTensorHandle* ret) {
      return aoti_torch_cuda__weight_int4pack_mm(self, b, 64, c, ret);
    });
  };
  refuse(nullptr, pairs, "mat2 is null");
  refuse(mat2, nullptr, "qScaleAndZeros is null");
}

TEST_F(WeightInt4PackMm, RefusesWhatDoesNotFit) {
  const auto refused = [](Status status, const char* text, auto&& change) {
    Arguments arguments(gpu());
    change(arguments);
    arguments.expect_refused(status, text);
  };
  const Status argument = Status::InvalidArgument, type = Status::InvalidType;
  refused(argument, "2-dimensional", [](Arguments& a) { a.self = a.self.select(0, 1); });
  refused(argument, "2-dimensional", [](Arguments& a) { a.self = a.self.view(Ints{1, 3, kK}); });
  refused(type, "int8", [](Arguments& a) { a.self = empty({3, kK}, DType::Int8); });
  refused(type, "float64", [](Arguments& a) { a.self = a.self.to(DType::Float64); });
  refused(argument, "[3, 128], its last size must be K = 256",
          [](Arguments& a) { a.self = a.self.slice(1, 0, 128); });
  refused(argument, "mat2 is undefined", [](Arguments& a) { a.mat2 = Tensor(); });
  refused(argument, "mat2 is on cpu", [](Arguments& a) { a.mat2 = a.mat2.to(kCPU); });
  refused(type, "qdata has dtype uint8, not int32", [](Arguments& a) {
    a.mat2 = empty({3, 2, 32, 4}, DType::UInt8);
  });
  refused(argument, "not [N/8, K/(16·t), 32, t/2]", [](Arguments& a) {
    a.mat2 = empty({24, 32}, DType::Int32);
  });
  refused(argument, "last size is not 1, 2 or 4", [](Arguments& a) {
    a.mat2 = empty({3, 2, 32, 3}, DType::Int32);
  });
  refused(argument, "[3, 2, 16, 4], not [3, 2, 32, 4]", [](Arguments& a) {
    a.mat2 = empty({3, 2, 16, 4}, DType::Int32);
  });
  refused(argument, "must lie together", [](Arguments& a) {
    a.mat2 = empty({3, 2, 4, 32}, DType::Int32).transpose(2, 3);
  });
  refused(argument, "qScaleAndZeros is undefined", [](Arguments& a) { a.pairs = Tensor(); });
  refused(argument, "qScaleAndZeros is on cpu", [](Arguments& a) { a.pairs = a.pairs.to(kCPU); });
  refused(type, "scales_and_zeros has dtype float16, not bfloat16",
          [](Arguments& a) { a.pairs = a.pairs.to(DType::Float16); });
  refused(argument, "[8, 24, 2], not [4, 24, 2]", [](Arguments& a) {
    a.pairs = empty({8, kN, 2}, DType::BFloat16);
  });
  refused(argument, "[4, 24]", [](Arguments& a) { a.pairs = empty({4, kN}, DType::BFloat16); });
  for (const auto& [size, text] : {std::pair{int64_t{0}, "group size 0"},
                                   {-32, "group size -32"},
                                   {16, "group size 16"},
                                   {96, "group size 96"},
                                   {512, "group size 512"},
                                   {128, "[4, 24, 2], not [2, 24, 2]"}}) {
    refused(argument, text, [size = size](Arguments& a) { a.group_size = size; });
  }
}

TEST_F(WeightInt4PackMm, RefusesMisalignedCodes) {
  Arguments arguments(gpu());
  const Tensor words = empty({kN / 8 * kK * 4 + 4}, DType::UInt8);
  arguments.mat2 = Tensor::from_blob(words.data<uint8_t>() + 4, arguments.mat2.sizes(),
                                     arguments.mat2.strides(), 0, DType::Int32, gpu());
  arguments.expect_refused(Status::InvalidArgument, "qdata begins at address");
}

TEST_F(WeightInt4PackMm, OnTheSecondDevice) {
  if (device_count() < 2) GTEST_SKIP() << "there is one GPU";
  Handle first, second;
  Arguments arguments(gpu(1));
  ASSERT_EQ(arguments.call(second.out()), kOk) << last_error();
  EXPECT_EQ(second.tensor().device(), gpu(1));
  ASSERT_EQ(Arguments(gpu(0)).call(first.out()), kOk) << last_error();
  EXPECT_EQ(bytes_of(second.tensor()), bytes_of(first.tensor()));
  arguments.self = arguments.self.to(gpu(0));
  arguments.expect_refused(Status::InvalidArgument, "x is on cuda:0, the weight on cuda:1");
  arguments = Arguments(gpu(1));
  arguments.pairs = arguments.pairs.to(gpu(0));
  arguments.expect_refused(Status::InvalidArgument, "cuda:0");
}

TEST_F(WeightInt4PackMm, LeavesNothingWhereMemoryRunsOut) {
  const Arguments arguments(gpu());
  cuda_interface().set_memory_limit(gpu(), 1);
  arguments.expect_refused(Status::MemoryAllocationFailed, "144");
  cuda_interface().set_memory_limit(gpu(), 0);
}

}  // namespace
}  // namespace aotiny::cuda
