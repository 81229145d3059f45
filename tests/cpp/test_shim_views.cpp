// Views, clones, copies, zeros.
#include <cstring>

#include "shim_test.h"

namespace aotiny {
namespace {

using Views = ShimTest;
using Copies = ShimTest;

Tensor counting() { return tensor_of<int32_t>({2, 4}, {0, 1, 2, 3, 4, 5, 6, 7}); }

TEST_F(Views, ReinterpretAddsItsOffsetAndOutlivesItsBase) {
  Handle view;
  {
    const Handle base(counting().slice(1, 1, 4));
    const int64_t sizes[] = {2}, strides[] = {3};
    ASSERT_EQ(aoti_torch__reinterpret_tensor(base, 1, sizes, strides, 2, view.out()), kOk);
  }
  EXPECT_EQ(view.tensor().storage_offset(), 3);
  EXPECT_EQ(values_of<int32_t>(view.tensor()), (std::vector<int32_t>{3, 6}));
}

TEST_F(Views, ReinterpretRefuses) {
  const Handle base(counting());
  const int64_t size[] = {8}, stride[] = {1};
  const auto refused = [&](const char* text, AtenTensorHandle self, int64_t ndim,
                           const int64_t* sizes, const int64_t* strides, int64_t offset) {
    expect_refused_with_null(Status::InvalidArgument, text, [&](AtenTensorHandle* ret) {
      return aoti_torch__reinterpret_tensor(self, ndim, sizes, strides, offset, ret);
    });
  };
  refused("self is null", nullptr, 1, size, stride, 0);
  refused("sizes_ptr is null", base, 1, nullptr, stride, 0);
  refused("strides_ptr is null", base, 1, size, nullptr, 0);
  refused("-1 values", base, -1, size, stride, 0);
  refused("holds 8", base, 1, size, stride, 1);
  refused("-1 is negative", base, 1, size, stride, -1);
  const Handle shifted(counting().slice(1, 1, 4));
  refused("overflows", shifted, 1, size, stride, INT64_MAX);
  const Handle undefined{Tensor()};
  refused("undefined", undefined, 1, size, stride, 0);
  expect_refused(aoti_torch__reinterpret_tensor(base, 1, size, stride, 0, nullptr),
                 Status::InvalidArgument, "ret_new_tensor is null");
}

TEST_F(Views, PartsOfAPool) {
  const Tensor pool = Tensor::empty(Ints{67}, DType::UInt8);
  for (int64_t i = 0; i < 67; ++i) pool.data<uint8_t>()[i] = static_cast<uint8_t>(i);
  const Ints sizes = {2, 3}, strides = {3, 1};
  Handle floats, bytes, none;
  {
    const Handle self(pool);
    ASSERT_EQ(aoti_torch__alloc_from_pool(self, 40, aoti_torch_dtype_int32(), 2, sizes.data(),
                                          strides.data(), floats.out()),
              kOk)
        << last_error();
    ASSERT_EQ(aoti_torch__alloc_from_pool(self, 61, aoti_torch_dtype_int8(), 2, sizes.data(),
                                          strides.data(), bytes.out()),
              kOk);
    const Ints empty = {0, 3};
    ASSERT_EQ(aoti_torch__alloc_from_pool(self, 64, aoti_torch_dtype_float64(), 2, empty.data(),
                                          strides.data(), none.out()),
              kOk);
  }
  EXPECT_EQ(floats.tensor().raw_data(), pool.data<uint8_t>() + 40);
  EXPECT_EQ(values_of<int32_t>(floats.tensor())[5], 0x3f3e3d3c);
  EXPECT_EQ(values_of<int8_t>(bytes.tensor()), (std::vector<int8_t>{61, 62, 63, 64, 65, 66}));
  EXPECT_EQ(none.tensor().numel(), 0);

  const Handle self(pool), gaps(pool.slice(0, 0, 67, 2)), undefined{Tensor()};
  const auto refused = [&](const char* text, AtenTensorHandle base, int64_t offset,
                           const int64_t* shape) {
    expect_refused_with_null(Status::InvalidArgument, text, [&](AtenTensorHandle* ret) {
      return aoti_torch__alloc_from_pool(base, offset, aoti_torch_dtype_int32(), 2, shape,
                                         strides.data(), ret);
    });
  };
  refused("self is null", nullptr, 0, sizes.data());
  refused("self is undefined", undefined, 0, sizes.data());
  refused("self is not contiguous", gaps, 0, sizes.data());
  refused("sizes_ptr is null", self, 0, nullptr);
  refused("offset_bytes -4 is not a multiple of 4 in 0..67", self, -4, sizes.data());
  refused("offset_bytes 68", self, 68, sizes.data());
  refused("offset_bytes 2 ", self, 2, sizes.data());
  refused("at byte 44 does not lie in the 67 bytes of self", self, 44, sizes.data());
  const Handle part(pool.slice(0, 0, 20));
  refused("does not lie in the 20 bytes", part, 0, sizes.data());
  const Ints huge = {INT64_MAX, INT64_MAX};
  refused("overflows", self, 0, huge.data());
}

TEST_F(Views, AsStridedTakesTheRankAndOffsetOfItsBase) {
  const Handle base(counting().slice(1, 1, 3));
  const int64_t sizes[] = {3, 2}, strides[] = {1, 0};
  Handle view;
  ASSERT_EQ(aoti_torch_as_strided(base, sizes, strides, view.out()), kOk);
  EXPECT_EQ(values_of<int32_t>(view.tensor()), (std::vector<int32_t>{1, 1, 2, 2, 3, 3}));
}

TEST_F(Views, AsStridedRefuses) {
  const Handle base(counting());
  const int64_t sizes[] = {3, 4}, strides[] = {4, 1};
  const auto refused = [](const char* text, auto... arguments) {
    expect_refused_with_null(Status::InvalidArgument, text, [&](AtenTensorHandle* ret) {
      return aoti_torch_as_strided(arguments..., ret);
    });
  };
  refused("needs 12", AtenTensorHandle(base), sizes, strides);
  refused("self is null", AtenTensorHandle(nullptr), sizes, strides);
  refused("sizes_ptr is null", AtenTensorHandle(base), nullptr, strides);
  refused("strides_ptr is null", AtenTensorHandle(base), sizes, nullptr);
  expect_refused(aoti_torch_as_strided(base, sizes, strides, nullptr), Status::InvalidArgument,
                 "ret is null");
}

TEST_F(Copies, ClonesAreIndependent) {
  const Handle base(counting().transpose(0, 1));
  for (const auto function : {aoti_torch_clone, aoti_torch_clone_preserve_strides}) {
    Handle copy;
    ASSERT_EQ(function(base, copy.out()), kOk);
    EXPECT_EQ(ints(copy.tensor().strides()), (Ints{1, 4}));
    EXPECT_EQ(values_of<int32_t>(copy.tensor()), values_of<int32_t>(base.tensor()));
    ASSERT_EQ(aoti_torch_zero_(copy), kOk);
    EXPECT_EQ(base.tensor().data<int32_t>()[1], 1);
  }
}

TEST_F(Copies, PreservedStridesKeepTheGaps) {
  const Handle base(counting().slice(1, 1, 3));
  Handle copy;
  ASSERT_EQ(aoti_torch_clone_preserve_strides(base, copy.out()), kOk);
  EXPECT_EQ(ints(copy.tensor().strides()), (Ints{4, 1}));
  EXPECT_EQ(copy.tensor().storage_offset(), 0);
  EXPECT_EQ(copy.tensor().data<int32_t>()[2], 3);  // between the rows
  const Handle empty(Tensor::empty(Ints{0, 3}, DType::Float32));
  Handle empty_copy;
  ASSERT_EQ(aoti_torch_clone_preserve_strides(empty, empty_copy.out()), kOk);
  EXPECT_EQ(ints(empty_copy.tensor().sizes()), (Ints{0, 3}));
}

TEST_F(Copies, ClonesRefuse) {
  const Handle base(counting()), undefined{Tensor()};
  for (const auto function : {aoti_torch_clone, aoti_torch_clone_preserve_strides}) {
    expect_refused_with_null(Status::InvalidArgument, "self is null",
                             [&](AtenTensorHandle* ret) { return function(nullptr, ret); });
    expect_refused_with_null(Status::InvalidArgument, "self is undefined",
                             [&](AtenTensorHandle* ret) { return function(undefined, ret); });
    expect_refused(function(base, nullptr), Status::InvalidArgument, "ret is null");
  }
}

TEST_F(Copies, TheTwoCopiesTakeTheirArgumentsInOppositeOrder) {
  const Handle to(tensor_of<float>({2}, {0, 0})), from(tensor_of<int32_t>({1}, {5}));
  ASSERT_EQ(aoti_torch_copy_(to, from, 1), kOk);
  EXPECT_EQ(values_of<float>(to.tensor()), (std::vector<float>{5, 5}));
  const Handle other(tensor_of<int32_t>({2}, {8, 9}));
  ASSERT_EQ(aoti_torch_tensor_copy_(other, to), kOk);
  EXPECT_EQ(values_of<float>(to.tensor()), (std::vector<float>{8, 9}));
}

TEST_F(Copies, CopiesRefuse) {
  const Handle two(tensor_of<float>({2}, {1, 2})), three(tensor_of<float>({3}, {1, 2, 3}));
  const Handle undefined{Tensor()};
  expect_refused(aoti_torch_copy_(two, three, 0), Status::InvalidArgument, "[3]");
  expect_refused(aoti_torch_copy_(nullptr, three, 0), Status::InvalidArgument, "self is null");
  expect_refused(aoti_torch_copy_(two, nullptr, 0), Status::InvalidArgument, "src is null");
  expect_refused(aoti_torch_copy_(two, undefined, 0), Status::InvalidArgument, "undefined");
  expect_refused(aoti_torch_tensor_copy_(two, three), Status::InvalidArgument, "[2]");
  expect_refused(aoti_torch_tensor_copy_(nullptr, three), Status::InvalidArgument, "src is null");
  expect_refused(aoti_torch_tensor_copy_(two, nullptr), Status::InvalidArgument, "dst is null");
  EXPECT_EQ(values_of<float>(two.tensor()), (std::vector<float>{1, 2}));
}

TEST_F(Copies, ZeroWritesTheViewAlone) {
  const Tensor base = counting();
  const Handle view(base.slice(1, 0, 4, 2));
  ASSERT_EQ(aoti_torch_zero_(view), kOk);
  EXPECT_EQ(values_of<int32_t>(base), (std::vector<int32_t>{0, 1, 0, 3, 0, 5, 0, 7}));
  const Handle complex(Tensor::empty(Ints{3}, DType::ComplexFloat64));
  std::memset(complex.tensor().raw_data(), 0xff, 48);
  ASSERT_EQ(aoti_torch_zero_(complex), kOk);
  EXPECT_EQ(static_cast<double*>(complex.tensor().raw_data())[5], 0.0);
  const Handle undefined{Tensor()};
  expect_refused(aoti_torch_zero_(nullptr), Status::InvalidArgument, "self is null");
  expect_refused(aoti_torch_zero_(undefined), Status::InvalidArgument, "self is undefined");
}

}  // namespace
}  // namespace aotiny
