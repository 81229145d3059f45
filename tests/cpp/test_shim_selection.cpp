// topk, sort, cumsum, cumprod, nonzero.
#include <limits>

#include "shim_test.h"

namespace aotiny {
namespace {

using Selection = ShimTest;
using Scan = ShimTest;
using NonzeroShim = ShimTest;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// Two output handles, poisoned, are null after the call was refused.
template <class Call>
void expect_both_null(Status status, const char* text, Call&& call) {
  int poison = 0;
  auto values = reinterpret_cast<AtenTensorHandle>(&poison);
  auto indices = values;
  expect_refused(call(&values, &indices), status, text);
  EXPECT_EQ(values, nullptr);
  EXPECT_EQ(indices, nullptr);
}

TEST_F(Selection, TopkPutsNanFirstAndTakesTheFirstOfEquals) {
  const Handle x(tensor_of<float>({7}, {3, 1, kNan, 3, 2, 3, -1}));
  Handle values, indices;
  ASSERT_EQ(aoti_torch_cpu_topk(x, 3, 0, 1, 1, values.out(), indices.out()), kOk);
  EXPECT_EQ(values_of<int64_t>(indices.tensor()), (Ints{2, 0, 3}));
  EXPECT_EQ(values_of<float>(values.tensor())[2], 3.0f);
  Handle least, least_indices;
  ASSERT_EQ(aoti_torch_cpu_topk(x, 3, -1, 0, 1, least.out(), least_indices.out()), kOk);
  EXPECT_EQ(values_of<float>(least.tensor()), (std::vector<float>{-1, 1, 2}));
}

TEST_F(Selection, TopkAlongAnInnerDimensionIsContiguous) {
  const Handle x(tensor_of<int8_t>({3, 2}, {1, 6, 5, 2, 3, 4}).transpose(0, 1));
  Handle values, indices;
  ASSERT_EQ(aoti_torch_cpu_topk(x, 1, 0, 1, 0, values.out(), indices.out()), kOk);
  EXPECT_EQ(ints(values.tensor().sizes()), (Ints{1, 3}));
  EXPECT_TRUE(values.tensor().is_contiguous());
  EXPECT_EQ(values_of<int8_t>(values.tensor()), (std::vector<int8_t>{6, 5, 4}));
  EXPECT_EQ(values_of<int64_t>(indices.tensor()), (Ints{1, 0, 1}));
}

TEST_F(Selection, TopkRefuses) {
  const Handle x(tensor_of<float>({2, 3}, {1, 2, 3, 4, 5, 6}));
  const Handle complex(Tensor::empty(Ints{3}, DType::ComplexFloat32)), undefined{Tensor()};
  const auto refused = [](Status status, const char* text, AtenTensorHandle self, int64_t k,
                          int64_t dim) {
    expect_both_null(status, text, [&](AtenTensorHandle* values, AtenTensorHandle* indices) {
      return aoti_torch_cpu_topk(self, k, dim, 1, 1, values, indices);
    });
  };
  refused(Status::InvalidArgument, "k 4 is outside 0..3", x, 4, 1);
  refused(Status::InvalidArgument, "k -1 is outside", x, -1, 1);
  refused(Status::InvalidArgument, "dimension 2", x, 1, 2);
  refused(Status::InvalidType, "complex64", complex, 1, 0);
  refused(Status::InvalidArgument, "self is null", nullptr, 1, 0);
  refused(Status::InvalidArgument, "self is undefined", undefined, 1, 0);
  Handle other;
  expect_refused(aoti_torch_cpu_topk(x, 1, 0, 1, 1, nullptr, other.out()), Status::InvalidArgument,
                 "ret0 is null");
  expect_refused(aoti_torch_cpu_topk(x, 1, 0, 1, 1, other.out(), nullptr), Status::InvalidArgument,
                 "ret1 is null");
  EXPECT_EQ(AtenTensorHandle(other), nullptr);
}

TEST_F(Selection, SortIsStableAndKeepsStrides) {
  const Handle x(tensor_of<int32_t>({2, 4}, {2, 1, 2, 1, 0, 5, 0, 5}).transpose(0, 1));
  int32_t stable = 1;
  Handle values, indices;
  ASSERT_EQ(aoti_torch_cpu_sort_stable(x, &stable, 0, 1, values.out(), indices.out()), kOk);
  EXPECT_EQ(ints(values.tensor().strides()), (Ints{1, 4}));
  EXPECT_EQ(ints(indices.tensor().strides()), (Ints{1, 4}));
  EXPECT_EQ(values_of<int32_t>(values.tensor()), (std::vector<int32_t>{2, 5, 2, 5, 1, 0, 1, 0}));
  EXPECT_EQ(values_of<int64_t>(indices.tensor()), (Ints{0, 1, 2, 3, 1, 0, 3, 2}));
}

TEST_F(Selection, SortRefuses) {
  const Handle x(tensor_of<float>({2, 3}, {1, 2, 3, 4, 5, 6}));
  const Handle complex(Tensor::empty(Ints{3}, DType::ComplexFloat32)), undefined{Tensor()};
  const auto refused = [](Status status, const char* text, AtenTensorHandle self, int64_t dim) {
    expect_both_null(status, text, [&](AtenTensorHandle* values, AtenTensorHandle* indices) {
      return aoti_torch_cpu_sort_stable(self, nullptr, dim, 0, values, indices);
    });
  };
  refused(Status::InvalidArgument, "dimension -3", x, -3);
  refused(Status::InvalidType, "complex64", complex, 0);
  refused(Status::InvalidArgument, "self is null", nullptr, 0);
  refused(Status::InvalidArgument, "self is undefined", undefined, 0);
  Handle other;
  expect_refused(aoti_torch_cpu_sort_stable(x, nullptr, 0, 0, nullptr, other.out()),
                 Status::InvalidArgument, "ret0 is null");
  expect_refused(aoti_torch_cpu_sort_stable(x, nullptr, 0, 0, other.out(), nullptr),
                 Status::InvalidArgument, "ret1 is null");
}

TEST_F(Scan, SumsAndProducts) {
  const Handle x(tensor_of<int8_t>({2, 3}, {100, 100, 100, 2, 3, 4}));
  Handle sum, product;
  ASSERT_EQ(aoti_torch_cpu_cumsum(x, 1, nullptr, sum.out()), kOk);
  EXPECT_EQ(values_of<int64_t>(sum.tensor()), (Ints{100, 200, 300, 2, 5, 9}));
  int32_t dtype = aoti_torch_dtype_float32();
  ASSERT_EQ(aoti_torch_cpu_cumprod(x, 0, &dtype, product.out()), kOk);
  EXPECT_EQ(values_of<float>(product.tensor()), (std::vector<float>{100, 100, 100, 200, 300, 400}));
}

TEST_F(Scan, IntegersWrap) {
  const Handle x(tensor_of<int64_t>({3}, {INT64_MAX, 1, 2}));
  Handle sum;
  ASSERT_EQ(aoti_torch_cpu_cumsum(x, 0, nullptr, sum.out()), kOk);
  EXPECT_EQ(values_of<int64_t>(sum.tensor()), (Ints{INT64_MAX, INT64_MIN, INT64_MIN + 2}));
}

TEST_F(Scan, Refuses) {
  const Handle x(tensor_of<float>({2}, {1, 2})), undefined{Tensor()};
  const Handle complex(Tensor::empty(Ints{3}, DType::ComplexFloat32));
  for (const auto function : {aoti_torch_cpu_cumsum, aoti_torch_cpu_cumprod}) {
    const auto refused = [&](Status status, const char* text, AtenTensorHandle self, int64_t dim,
                             int32_t* dtype) {
      expect_refused_with_null(
          status, text, [&](AtenTensorHandle* ret) { return function(self, dim, dtype, ret); });
    };
    int32_t unknown = 99, boolean = aoti_torch_dtype_bool();
    refused(Status::InvalidArgument, "dimension 1", x, 1, nullptr);
    refused(Status::InvalidType, "99", x, 0, &unknown);
    refused(Status::InvalidType, "bool", x, 0, &boolean);
    refused(Status::InvalidType, "complex64", complex, 0, nullptr);
    refused(Status::InvalidArgument, "self is null", nullptr, 0, nullptr);
    refused(Status::InvalidArgument, "self is undefined", undefined, 0, nullptr);
    expect_refused(function(x, 0, nullptr, nullptr), Status::InvalidArgument, "ret0 is null");
  }
}

TEST_F(NonzeroShim, WritesColumns) {
  const Handle x(tensor_of<float>({2, 3}, {0, kNan, -0.0f, 1, 0, 2}));
  Handle indices;
  ASSERT_EQ(aoti_torch_cpu_nonzero(x, indices.out()), kOk);
  EXPECT_EQ(ints(indices.tensor().sizes()), (Ints{3, 2}));
  EXPECT_EQ(ints(indices.tensor().strides()), (Ints{1, 3}));
  EXPECT_EQ(values_of<int64_t>(indices.tensor()), (Ints{0, 1, 1, 0, 1, 2}));
}

TEST_F(NonzeroShim, Refuses) {
  const Handle complex(Tensor::empty(Ints{3}, DType::ComplexFloat32)), undefined{Tensor()};
  const auto refused = [](Status status, const char* text, AtenTensorHandle self) {
    expect_refused_with_null(
        status, text, [&](AtenTensorHandle* ret) { return aoti_torch_cpu_nonzero(self, ret); });
  };
  refused(Status::InvalidType, "complex64", complex);
  refused(Status::InvalidArgument, "self is null", nullptr);
  refused(Status::InvalidArgument, "self is undefined", undefined);
  const Handle x(Tensor::scalar(1.0f));
  expect_refused(aoti_torch_cpu_nonzero(x, nullptr), Status::InvalidArgument, "ret0 is null");
}

}  // namespace
}  // namespace aotiny
