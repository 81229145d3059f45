// While a thread captures a stream in CUDA's global mode, as torch does, the others go on: their
// calls work, those that wait too, and do not spoil the capture.
#include <functional>
#include <thread>

#include "aotiny/abi/aoti_torch_cuda.h"
#include "aotiny/core/modules.h"
#include "aotiny/quant/int4_tile_packed.h"
#include "aotiny/shims/pack_tiles.h"
#include "cuda_products.h"

namespace aotiny::cuda {
namespace {

struct Work {
  const char* name;
  std::function<void()> run;
};

// In CUDA's own language.
constexpr const char* kModule =
    ".version 7.0\n.target sm_80\n.address_size 64\n.visible .entry nothing() { ret; }\n";

void check(AOTITorchError code) {
  if (code != kOk) throw Error(static_cast<Status>(code), last_error());
}

const std::vector<Work>& works() {
  static const std::vector<Work> all = {
      {"Transfers",
       [] {
         const Tensor host = random_tensor({1000}, 1);
         EXPECT_EQ(floats_of(host.to(gpu()).to(kCPU)), floats_of(host));
       }},
      {"ManyPinnedTransfers",
       [] {
         for (int i = 0; i < 5; ++i) {
           const Tensor pinned = Tensor::empty_pinned(Ints{1000 + i}, DType::Float32);
           const Tensor there = Tensor::empty(Ints{1000 + i}, DType::Float32, gpu());
           there.copy_(pinned, true);
           pinned.copy_(there, true);
         }
       }},
      {"Items",
       [] {
         const Handle one(Tensor::scalar(2.5f).to(gpu()));
         float value = 0;
         check(aoti_torch_item_float32(one, &value));
         EXPECT_EQ(value, 2.5f);
       }},
      {"Weights",
       [] {
         const Weight weight = random_weight(FormatId{0}, 8, 64, 32, 2), there = weight.to(gpu());
         EXPECT_TRUE(there == weight);
         EXPECT_EQ(floats_of(there.dequantize().to(kCPU)), floats_of(weight.dequantize()));
         there.check_values();
       }},
      {"Products",
       [] {
         const Weight weight = random_weight(FormatId{0}, 8, 64, 32, 3).to(gpu());
         const Tensor x = random_tensor({3, 64}, 4, DType::BFloat16).to(gpu());
         matmul(x, weight, Activation::Int8);
         matmul(x, weight, Activation::Native);
       }},
      {"Embedding",
       [] {
         const Weight weight = random_weight(FormatId{0}, 8, 64, 32, 5);
         const Tensor row = Tensor::scalar(int64_t{7});
         EXPECT_EQ(bytes_of(embedding(row.to(gpu()), weight.to(gpu()), DType::Float16)),
                   bytes_of(embedding(row, weight, DType::Float16)));
         failure(Status::InvalidArgument, [&] {
           embedding(Tensor::scalar(int64_t{8}).to(gpu()), weight.to(gpu()), DType::Float16);
         });
       }},
      {"Packing",
       [] {
         const Tensor codes = Tensor::empty(Ints{8, 64}, DType::Int32, gpu());
         codes.zero_();
         pack_tiles(codes, 2);
       }},
      {"DenseProducts",
       [] {
         const Handle a(random_tensor({8, 8}, 6).to(gpu()));
         const Handle out(Tensor::empty(Ints{8, 8}, DType::Float32, gpu()));
         check(aoti_torch_cuda_mm_out(out, a, a));
       }},
      {"Selection",
       [] {
         const Handle x(random_tensor({4, 5000}, 7).to(gpu()));
         Handle values, indices, sums, places;
         check(aoti_torch_cuda_topk(x, 3, 1, 1, 1, values.out(), indices.out()));
         check(aoti_torch_cuda_cumsum(x, 1, nullptr, sums.out()));
         check(aoti_torch_cuda_nonzero(x, places.out()));
         EXPECT_EQ(ints(places.tensor().sizes()), (Ints{20000, 2}));
       }},
      {"RandomNumbers",
       [] {
         const Ints size = {1000};
         Handle numbers, order;
         int32_t device = static_cast<int32_t>(DeviceType::CUDA);
         check(aoti_torch_cuda_rand(size.data(), 1, nullptr, nullptr, &device, 0, nullptr,
                                    numbers.out()));
         check(aoti_torch_cuda_randperm(1000, nullptr, nullptr, &device, 0, nullptr, order.out()));
         cuda_interface().manual_seed(gpu(), 8);
       }},
      {"StreamsAndEvents",
       [] {
         const Stream stream(0);
         wait_for_stream(0, stream.get(), 0, current_stream(0));
         synchronize_stream(0, stream.get(), "the test");
         Event event(0);
         event.record(stream.get());
         event.synchronize();
         EXPECT_TRUE(event.is_done());
       }},
      {"PinnedMemory",
       [] {
         PinnedAllocator pinned;
         void* block = pinned.allocate(1000, kCPU);
         pinned.record_use(block, 0, current_stream(0));
         pinned.deallocate(block, 1000, kCPU);
         pinned.empty_cache(kCPU);
         EXPECT_EQ(pinned.stats(kCPU).reserved_bytes, 0u);
       }},
      {"Uploads",
       [] {
         const std::vector<char> bytes(10 << 20, 3);
         const Tensor there = Tensor::empty(Ints{10 << 20}, DType::UInt8, gpu());
         cuda_interface().upload(there.raw_data(), gpu(), bytes.data(), bytes.size());
       }},
      {"Recordings",
       [] {
         CudaInterface& interface = cuda_interface();
         const Tensor there = Tensor::empty(Ints{100}, DType::UInt8, gpu());
         const auto stream = interface.make_stream(gpu());
         interface.wait_for_stream(gpu(), stream->get(), current_stream(0));
         const auto graph = interface.record(gpu(), stream->get(), [&] { there.zero_(); });
         graph->launch(stream->get());
         const auto event = interface.make_event(gpu());
         event->record(stream->get());
         event->synchronize();
         interface.wait_for_stream(gpu(), current_stream(0), stream->get());
       }},
      {"Modules",
       [] {
         CudaInterface& interface = cuda_interface();
         std::vector<void*> modules;
         std::vector<void*>* const before = interface.collect_modules(&modules);
         void* module = nullptr;
         EXPECT_EQ(aotinyModuleLoad(&module, kModule), 0);
         interface.collect_modules(before);
         EXPECT_EQ(modules.size(), 1u);
         interface.unload_modules(modules);
       }},
      {"TheLastDevice",
       [] {
         const Device last = gpu(device_count() - 1);
         const Tensor host = random_tensor({1000}, 9), there = host.to(last);
         EXPECT_EQ(floats_of(there.to(gpu(0)).to(kCPU)), floats_of(host));
         cuda_interface().manual_seed(last, 10);
       }},
      {"Errors",
       [] {
         (void)cudaSetDevice(1 << 20);  // fails, and leaves the error behind
         EXPECT_EQ(cuda_interface().take_error(gpu()), "");
         EXPECT_EQ(cudaPeekAtLastError(), cudaSuccess);
       }},
      {"Properties",
       [] {
         CudaInterface& interface = cuda_interface();
         EXPECT_GT(interface.properties(gpu()).total_bytes, 0u);
         const Tensor there = Tensor::empty(Ints{100}, DType::UInt8, gpu());
         interface.check_memory(there.raw_data(), gpu());
         EXPECT_GT(interface.allocator().stats(gpu()).reserved_bytes, 0u);
       }},
  };
  return all;
}

class CaptureElsewhere : public GpuTest, public ::testing::WithParamInterface<size_t> {};
INSTANTIATE_TEST_SUITE_P(All, CaptureElsewhere, ::testing::Range(size_t{0}, works().size()),
                         [](const auto& info) { return works()[info.param].name; });

TEST_P(CaptureElsewhere, IsNotSpoiled) {
  const Tensor input = Tensor::empty(Ints{1000}, DType::Float32, gpu());
  const Tensor output = Tensor::empty(Ints{1000}, DType::Float32, gpu());
  AOTINY_CUDA_CHECK(cudaDeviceSynchronize());
  Captured graph([&] {
    const Tensor before = input.to(DType::BFloat16);
    std::thread([] {
      const Stream stream(0);
      const StreamGuard guard(0, stream.get());
      EXPECT_NO_THROW(works()[GetParam()].run());
      synchronize_stream(0, stream.get(), "the test");
    }).join();
    output.copy_(before);
  });
  input.copy_(Tensor::scalar(0.5f));
  AOTINY_CUDA_CHECK(cudaDeviceSynchronize());
  graph.run();
  EXPECT_EQ(values_of<float>(output.to(kCPU)), std::vector<float>(1000, 0.5f));
}

}  // namespace
}  // namespace aotiny::cuda
