// Every C function that takes device memory, for want of it at each of its allocations: it says so,
// leaves null in its outputs and no memory behind, and works as soon as there is enough.
#include <functional>

#include "cuda_weights.h"

namespace aotiny::cuda {
namespace {

using testing::WeightHandles;
using OutOfMemory = GpuTest;

struct Call {
  const char* name;
  int num_results;
  std::function<AOTITorchError(AtenTensorHandle* results)> call;
};

// The plain products have the same test in their suite, plain_mm_on_cuda.h.
class Calls {
 public:
  Calls() {
    int8_.emplace(
        testing::random_weight(kFormatId<Int8Traits<Metadata::A>>, 96, 512, 64, 1).to(gpu()));
    stack_.emplace(random_stack(kFormatId<Int8Traits<Metadata::A>>, 2, 96, 512, 64, 2).to(gpu()));
    packed_.emplace(
        testing::random_weight(kFormatId<Int4TilePackedTraits<8>>, 96, 512, 64, 3).to(gpu()));
  }

  std::vector<Call> all() {
    return {
        {"weight_matmul", 1,
         [&](auto* ret) {
           const WeightHandles& w = *int8_;
           return aoti_torch_cuda_weight_matmul(x_, w.planes.data(), w.count, w.format, w.variant,
                                                w.group_size, nullptr, ret);
         }},
        {"weight_matmul, native", 1,
         [&](auto* ret) {
           const WeightHandles& w = *packed_;
           return aoti_torch_cuda_weight_matmul(x_, w.planes.data(), w.count, w.format, w.variant,
                                                w.group_size, nullptr, ret);
         }},
        {"weight_bmm", 1,
         [&](auto* ret) {
           const WeightHandles& w = *stack_;
           return aoti_torch_cuda_weight_bmm(batch_, w.planes.data(), w.count, w.format, w.variant,
                                             w.group_size, ret);
         }},
        {"weight_embedding", 1,
         [&](auto* ret) {
           const WeightHandles& w = *int8_;
           return aoti_torch_cuda_weight_embedding(indices_, w.planes.data(), w.count, w.format,
                                                   w.variant, w.group_size,
                                                   static_cast<int32_t>(DType::Float32), ret);
         }},
        {"_weight_int4pack_mm", 1,
         [&](auto* ret) {
           return aoti_torch_cuda__weight_int4pack_mm(x_, packed_->planes[0], 64,
                                                      packed_->planes[1], ret);
         }},
        {"_convert_weight_to_int4pack", 1,
         [&](auto* ret) { return aoti_torch_cuda__convert_weight_to_int4pack(codes_, 8, ret); }},
        {"mm_out", 0, [&](auto*) { return aoti_torch_cuda_mm_out(out_, x_, mat2_); }},
        {"addmm_out", 0,
         [&](auto*) { return aoti_torch_cuda_addmm_out(out_, self_, x_, mat2_, 1, 1); }},
        {"bmm_out", 0,
         [&](auto*) { return aoti_torch_cuda_bmm_out(batch_out_, batch_, batch_mat2_); }},
        {"baddbmm_out", 0,
         [&](auto*) {
           return aoti_torch_cuda_baddbmm_out(batch_out_, self_, batch_, batch_mat2_, 1, 1);
         }},
        {"topk", 2, [&](auto* ret) { return aoti_torch_cuda_topk(x_, 9, 1, 1, 1, ret, ret + 1); }},
        {"sort_stable", 2,
         [&](auto* ret) { return aoti_torch_cuda_sort_stable(x_, nullptr, 0, 0, ret, ret + 1); }},
        {"cumsum", 1, [&](auto* ret) { return aoti_torch_cuda_cumsum(x_, 0, nullptr, ret); }},
        {"cumprod", 1, [&](auto* ret) { return aoti_torch_cuda_cumprod(x_, 1, nullptr, ret); }},
        {"nonzero", 1, [&](auto* ret) { return aoti_torch_cuda_nonzero(x_, ret); }},
        {"rand", 1,
         [&](auto* ret) {
           return aoti_torch_cuda_rand(kSizes, 2, nullptr, nullptr, nullptr, 0, nullptr, ret);
         }},
        {"rand_generator", 1,
         [&](auto* ret) {
           return aoti_torch_cuda_rand_generator(kSizes, 2, nullptr, nullptr, nullptr, nullptr, 0,
                                                 nullptr, ret);
         }},
        {"rand_like", 1,
         [&](auto* ret) {
           return aoti_torch_cuda_rand_like(x_, nullptr, nullptr, nullptr, 0, nullptr, nullptr,
                                            ret);
         }},
        {"randn", 1,
         [&](auto* ret) {
           return aoti_torch_cuda_randn(kSizes, 2, nullptr, nullptr, nullptr, 0, nullptr, ret);
         }},
        {"randn_generator", 1,
         [&](auto* ret) {
           return aoti_torch_cuda_randn_generator(kSizes, 2, nullptr, nullptr, nullptr, nullptr, 0,
                                                  nullptr, ret);
         }},
        {"randn_like", 1,
         [&](auto* ret) {
           return aoti_torch_cuda_randn_like(x_, nullptr, nullptr, nullptr, 0, nullptr, nullptr,
                                             ret);
         }},
        {"uniform", 1, [&](auto* ret) { return aoti_torch_cuda_uniform(x_, 0, 1, nullptr, ret); }},
        {"normal_functional", 1,
         [&](auto* ret) { return aoti_torch_cuda_normal_functional(x_, 0, 1, nullptr, ret); }},
        {"randint", 1,
         [&](auto* ret) {
           return aoti_torch_cuda_randint(9, kSizes, 2, nullptr, nullptr, nullptr, 0, nullptr, ret);
         }},
        {"randint_generator", 1,
         [&](auto* ret) {
           return aoti_torch_cuda_randint_generator(9, kSizes, 2, nullptr, nullptr, nullptr,
                                                    nullptr, 0, nullptr, ret);
         }},
        {"randint_low", 1,
         [&](auto* ret) {
           return aoti_torch_cuda_randint_low(1, 9, kSizes, 2, nullptr, nullptr, nullptr, 0,
                                              nullptr, ret);
         }},
        {"randint_like", 1,
         [&](auto* ret) {
           return aoti_torch_cuda_randint_like(x_, 9, nullptr, nullptr, nullptr, 0, nullptr,
                                               nullptr, ret);
         }},
        {"randint_like_low_dtype", 1,
         [&](auto* ret) {
           return aoti_torch_cuda_randint_like_low_dtype(x_, 1, 9, nullptr, nullptr, nullptr, 0,
                                                         nullptr, nullptr, ret);
         }},
        {"randperm", 1,
         [&](auto* ret) {
           return aoti_torch_cuda_randperm(50000, nullptr, nullptr, nullptr, 0, nullptr, ret);
         }},
    };
  }

 private:
  static Tensor random(Ints sizes, uint32_t seed) {
    int64_t count = 1;
    for (const int64_t size : sizes) count *= size;
    return testing::tensor_of(testing::gaussian(count, seed), std::move(sizes), DType::BFloat16)
        .to(gpu());
  }
  static Tensor zeros(Ints sizes, DType dtype) {
    const Tensor tensor = Tensor::empty(sizes, dtype, gpu());
    tensor.zero_();
    return tensor;
  }

  static constexpr int64_t kSizes[] = {100, 1000};
  std::optional<WeightHandles> int8_, stack_, packed_;
  const Handle x_{random({70, 512}, 4)}, mat2_{random({512, 96}, 5)}, self_{random({70, 96}, 6)};
  const Handle out_{zeros({70, 96}, DType::BFloat16)};
  const Handle batch_{random({2, 70, 512}, 7)}, batch_mat2_{random({2, 512, 96}, 8)};
  const Handle batch_out_{zeros({2, 70, 96}, DType::BFloat16)};
  const Handle indices_{zeros({300}, DType::Int64)};
  const Handle codes_{zeros({96, 256}, DType::UInt8)};
};

TEST_F(OutOfMemory, AtEachAllocationOfEveryFunction) {
  Calls calls;
  for (const Call& entry : calls.all()) {
    SCOPED_TRACE(entry.name);
    const auto held = [] { return cuda_interface().allocator().stats(gpu()).allocated_bytes; };
    const uint64_t before = held();
    int failures = 0;
    bool worked = false;
    for (uint64_t room = 0; !worked && room <= uint64_t{1} << 30;
         room = room == 0 ? 256 : room * 5 / 4) {
      int poison = 0;
      AtenTensorHandle results[2];
      std::fill_n(results, 2, reinterpret_cast<AtenTensorHandle>(&poison));
      AOTITorchError code;
      {
        const MemoryLimit limit(room);
        code = entry.call(results);
      }
      if (code == kOk) {
        for (int i = 0; i < entry.num_results; ++i) aoti_torch_delete_tensor_object(results[i]);
        worked = true;
        continue;
      }
      ++failures;
      ASSERT_EQ(code, static_cast<int32_t>(Status::MemoryAllocationFailed)) << last_error();
      ASSERT_TRUE(contains(last_error(), "on cuda:0")) << last_error();
      for (int i = 0; i < entry.num_results; ++i) ASSERT_EQ(results[i], nullptr);
      ASSERT_EQ(held(), before) << "bytes left by a failure with room for " << room;
    }
    EXPECT_GT(failures, 0);
    EXPECT_TRUE(worked);
    EXPECT_EQ(held(), before);
  }
}

}  // namespace
}  // namespace aotiny::cuda
