/* The CUDA part of PyTorch's AOTInductor C ABI that libaotiny_cuda exports; the conventions are
 * those of aoti_torch.h. symbols.def lists every name.
 *
 * A guard acts on the thread that made it, and is deleted on that thread, the last one first. A
 * device index is 0 or more; a stream is a cudaStream_t, and null is the default stream.
 */
#pragma once

#include "aotiny/abi/aoti_torch.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct CUDAGuardOpaque* CUDAGuardHandle;
typedef struct CUDAStreamGuardOpaque* CUDAStreamGuardHandle;
typedef struct AtenGeneratorOpaque* AtenGeneratorHandle;

/* Makes a device current. The guard is new; deleting it (null is accepted) makes the device current
 * again that was so before, whatever set_index did in between. */
AOTINY_API AOTITorchError aoti_torch_create_cuda_guard(int32_t device_index,
                                                       CUDAGuardHandle* ret_guard);
AOTINY_API AOTITorchError aoti_torch_delete_cuda_guard(CUDAGuardHandle guard);
AOTINY_API AOTITorchError aoti_torch_cuda_guard_set_index(CUDAGuardHandle guard,
                                                          int32_t device_index);

/* Makes a stream the current one of its device, and that device current. The guard is new; deleting
 * it (null is accepted) undoes both. */
AOTINY_API AOTITorchError aoti_torch_create_cuda_stream_guard(void* stream, int32_t device_index,
                                                              CUDAStreamGuardHandle* ret_guard);
AOTINY_API AOTITorchError aoti_torch_delete_cuda_stream_guard(CUDAStreamGuardHandle guard);

/* The calling thread's current stream of a device; borrowed. */
AOTINY_API AOTITorchError aoti_torch_get_current_cuda_stream(int32_t device_index,
                                                             void** ret_stream);

/* Products and look-ups for every format, as aoti_torch_cpu_weight_matmul and its sisters of
 * aoti_torch.h, with every tensor on one CUDA device. The result is new; work goes to the device's
 * current stream. Indices are checked, for which the host waits for the stream; while it is being
 * captured they are not, and one outside 0..N-1 gives a row of NaN. */
AOTINY_API AOTITorchError aoti_torch_cuda_weight_matmul(
    AtenTensorHandle x, const AtenTensorHandle* planes, int64_t num_planes, const char* format,
    const char* variant, int64_t group_size, AtenTensorHandle* bias, AtenTensorHandle* ret0);
AOTINY_API AOTITorchError aoti_torch_cuda_weight_bmm(AtenTensorHandle x,
                                                     const AtenTensorHandle* planes,
                                                     int64_t num_planes, const char* format,
                                                     const char* variant, int64_t group_size,
                                                     AtenTensorHandle* ret0);
AOTINY_API AOTITorchError aoti_torch_cuda_weight_embedding(AtenTensorHandle indices,
                                                           const AtenTensorHandle* planes,
                                                           int64_t num_planes, const char* format,
                                                           const char* variant, int64_t group_size,
                                                           int32_t dtype, AtenTensorHandle* ret0);

/* Products with quantized weights and activations, for tensors of one CUDA device: arguments,
 * formats and results (new, contiguous, of self's dtype) are those of the functions of the same
 * names for the CPU in aoti_torch.h. Work goes to the current stream of the tensors' device. A
 * plane of codes must begin, like each of its rows, at a multiple of the bytes that kernels load at
 * a time: 16, or what 32 codes take where that is less. */
AOTINY_API AOTITorchError aoti_torch_cuda_int4_plain_mm(
    AtenTensorHandle self, AtenTensorHandle qdata, AtenTensorHandle scale, AtenTensorHandle fourth,
    intptr_t fifth, intptr_t sixth, intptr_t seventh, intptr_t eighth);
AOTINY_API AOTITorchError aoti_torch_cuda_exact_int4_plain_mm(
    AtenTensorHandle self, AtenTensorHandle qdata, AtenTensorHandle scale, AtenTensorHandle min,
    AtenTensorHandle d, AtenTensorHandle dmin, int64_t group_size, AtenTensorHandle* ret0);
AOTINY_API AOTITorchError aoti_torch_cuda_exact_int5_plain_mm(
    AtenTensorHandle self, AtenTensorHandle ql, AtenTensorHandle qh, AtenTensorHandle scale,
    AtenTensorHandle min, AtenTensorHandle d, AtenTensorHandle dmin, int64_t group_size,
    AtenTensorHandle* ret0);
AOTINY_API AOTITorchError aoti_torch_cuda_int6_plain_mm(AtenTensorHandle self, AtenTensorHandle ql,
                                                        AtenTensorHandle qh, AtenTensorHandle scale,
                                                        intptr_t fifth, intptr_t sixth,
                                                        intptr_t seventh);
AOTINY_API AOTITorchError aoti_torch_cuda_int8_plain_mm(AtenTensorHandle self,
                                                        AtenTensorHandle qdata,
                                                        AtenTensorHandle scale,
                                                        AtenTensorHandle zero, int64_t group_size,
                                                        AtenTensorHandle* ret0);

/* torch's op on weights packed by _convert_weight_to_int4pack: self [M, K] in bf16 (as torch takes
 * it), fp16 or fp32, any strides; mat2 int32 [N/8, K/(16*t), 32, t/2] with t = 2, 4 or 8;
 * qGroupSize 32, 64, 128 or 256; qScaleAndZeros bf16 [K/g, N, 2], all on one CUDA device. ret0
 * [M, N] is new, in self's dtype. A weight is rounded to self's dtype, sums are fp32. */
AOTINY_API AOTITorchError aoti_torch_cuda__weight_int4pack_mm(AtenTensorHandle self,
                                                              AtenTensorHandle mat2,
                                                              int64_t qGroupSize,
                                                              AtenTensorHandle qScaleAndZeros,
                                                              AtenTensorHandle* ret0);

/* torch's packer for it, of which torch has no C function: self uint8 [N, K/2], two codes a byte
 * with the even k in the high nibble, or int32 [N, K] with codes 0..15; innerKTiles t is 2, 4 or 8,
 * K a multiple of 16*t. ret0 int32 [(N + 7)/8, K/(16*t), 32, t/2] is new; rows from N on are zeros.
 * Codes in int32 are checked, which waits for the stream: refused while it is being captured. */
AOTINY_API AOTITorchError aoti_torch_cuda__convert_weight_to_int4pack(AtenTensorHandle self,
                                                                      int64_t innerKTiles,
                                                                      AtenTensorHandle* ret0);

/* Dense products into `out`, which keeps its own strides, as aoti_torch_cpu_mm_out and the others
 * have them: fp32, fp64, fp16, bf16, of one device; accumulated in fp32 (fp64 for fp64), without
 * TF32. cuBLAS is opened by the first of them: NotFound where there is none. */
AOTINY_API AOTITorchError aoti_torch_cuda_mm_out(AtenTensorHandle out, AtenTensorHandle self,
                                                 AtenTensorHandle mat2);
AOTINY_API AOTITorchError aoti_torch_cuda_addmm_out(AtenTensorHandle out, AtenTensorHandle self,
                                                    AtenTensorHandle mat1, AtenTensorHandle mat2,
                                                    double beta, double alpha);
AOTINY_API AOTITorchError aoti_torch_cuda_bmm_out(AtenTensorHandle out, AtenTensorHandle self,
                                                  AtenTensorHandle mat2);
AOTINY_API AOTITorchError aoti_torch_cuda_baddbmm_out(AtenTensorHandle out, AtenTensorHandle self,
                                                      AtenTensorHandle batch1,
                                                      AtenTensorHandle batch2, double beta,
                                                      double alpha);

/* Memory of the current device, at its current stream, from the allocator of aotiny's tensors. Null
 * for 0 bytes, and deleting null does nothing. */
AOTINY_API AOTITorchError aoti_torch_cuda_caching_allocator_raw_alloc(uint64_t nbytes,
                                                                      void** ret_ptr);
AOTINY_API AOTITorchError aoti_torch_cuda_caching_allocator_raw_delete(void* ptr);

/* Selection and scans, with the semantics of the functions of the same names for the CPU in
 * aoti_torch.h. The results are new. nonzero waits for the stream, and is refused during a capture.
 */
AOTINY_API AOTITorchError aoti_torch_cuda_topk(AtenTensorHandle self, int64_t k, int64_t dim,
                                               int32_t largest, int32_t sorted,
                                               AtenTensorHandle* ret0, AtenTensorHandle* ret1);
AOTINY_API AOTITorchError aoti_torch_cuda_sort_stable(AtenTensorHandle self, int32_t* stable,
                                                      int64_t dim, int32_t descending,
                                                      AtenTensorHandle* ret0,
                                                      AtenTensorHandle* ret1);
AOTINY_API AOTITorchError aoti_torch_cuda_cumsum(AtenTensorHandle self, int64_t dim, int32_t* dtype,
                                                 AtenTensorHandle* ret0);
AOTINY_API AOTITorchError aoti_torch_cuda_cumprod(AtenTensorHandle self, int64_t dim,
                                                  int32_t* dtype, AtenTensorHandle* ret0);
AOTINY_API AOTITorchError aoti_torch_cuda_nonzero(AtenTensorHandle self, AtenTensorHandle* ret0);

/* Random numbers from the device's generator (docs/cuda.md). The results are new. A null dtype is
 * float32, or self's; a null layout is strided; a null device is the current one, or self's;
 * pin_memory, if not null, points at 0; a generator is null. Uniform numbers are from `from` to
 * below `to`, by default from 0 to below 1; normal ones have by default mean 0 and deviation 1. */
AOTINY_API AOTITorchError aoti_torch_cuda_rand(const int64_t* size, int64_t size_len_,
                                               int32_t* dtype, int32_t* layout, int32_t* device,
                                               int32_t device_index_, int32_t* pin_memory,
                                               AtenTensorHandle* ret0);
AOTINY_API AOTITorchError aoti_torch_cuda_rand_generator(const int64_t* size, int64_t size_len_,
                                                         AtenGeneratorHandle* generator,
                                                         int32_t* dtype, int32_t* layout,
                                                         int32_t* device, int32_t device_index_,
                                                         int32_t* pin_memory,
                                                         AtenTensorHandle* ret0);
AOTINY_API AOTITorchError aoti_torch_cuda_rand_like(AtenTensorHandle self, int32_t* dtype,
                                                    int32_t* layout, int32_t* device,
                                                    int32_t device_index_, int32_t* pin_memory,
                                                    int32_t* memory_format, AtenTensorHandle* ret0);
AOTINY_API AOTITorchError aoti_torch_cuda_randn(const int64_t* size, int64_t size_len_,
                                                int32_t* dtype, int32_t* layout, int32_t* device,
                                                int32_t device_index_, int32_t* pin_memory,
                                                AtenTensorHandle* ret0);
AOTINY_API AOTITorchError aoti_torch_cuda_randn_generator(const int64_t* size, int64_t size_len_,
                                                          AtenGeneratorHandle* generator,
                                                          int32_t* dtype, int32_t* layout,
                                                          int32_t* device, int32_t device_index_,
                                                          int32_t* pin_memory,
                                                          AtenTensorHandle* ret0);
AOTINY_API AOTITorchError aoti_torch_cuda_randn_like(AtenTensorHandle self, int32_t* dtype,
                                                     int32_t* layout, int32_t* device,
                                                     int32_t device_index_, int32_t* pin_memory,
                                                     int32_t* memory_format,
                                                     AtenTensorHandle* ret0);
AOTINY_API AOTITorchError aoti_torch_cuda_uniform(AtenTensorHandle self, double from, double to,
                                                  AtenGeneratorHandle* generator,
                                                  AtenTensorHandle* ret0);
AOTINY_API AOTITorchError aoti_torch_cuda_normal_functional(AtenTensorHandle self, double mean,
                                                            double std,
                                                            AtenGeneratorHandle* generator,
                                                            AtenTensorHandle* ret0);

/* Random integers from low (or 0) to below high; a null dtype is int64, or self's. `out` is dense,
 * and its shape is `size`. randperm's result is a permutation of 0..n-1. */
AOTINY_API AOTITorchError aoti_torch_cuda_randint(int64_t high, const int64_t* size,
                                                  int64_t size_len_, int32_t* dtype,
                                                  int32_t* layout, int32_t* device,
                                                  int32_t device_index_, int32_t* pin_memory,
                                                  AtenTensorHandle* ret0);
AOTINY_API AOTITorchError aoti_torch_cuda_randint_generator(
    int64_t high, const int64_t* size, int64_t size_len_, AtenGeneratorHandle* generator,
    int32_t* dtype, int32_t* layout, int32_t* device, int32_t device_index_, int32_t* pin_memory,
    AtenTensorHandle* ret0);
AOTINY_API AOTITorchError aoti_torch_cuda_randint_low(int64_t low, int64_t high,
                                                      const int64_t* size, int64_t size_len_,
                                                      int32_t* dtype, int32_t* layout,
                                                      int32_t* device, int32_t device_index_,
                                                      int32_t* pin_memory, AtenTensorHandle* ret0);
AOTINY_API AOTITorchError aoti_torch_cuda_randint_low_out(AtenTensorHandle out, int64_t low,
                                                          int64_t high, const int64_t* size,
                                                          int64_t size_len_);
AOTINY_API AOTITorchError aoti_torch_cuda_randint_like(AtenTensorHandle self, int64_t high,
                                                       int32_t* dtype, int32_t* layout,
                                                       int32_t* device, int32_t device_index_,
                                                       int32_t* pin_memory, int32_t* memory_format,
                                                       AtenTensorHandle* ret0);
AOTINY_API AOTITorchError aoti_torch_cuda_randint_like_low_dtype(
    AtenTensorHandle self, int64_t low, int64_t high, int32_t* dtype, int32_t* layout,
    int32_t* device, int32_t device_index_, int32_t* pin_memory, int32_t* memory_format,
    AtenTensorHandle* ret0);
AOTINY_API AOTITorchError aoti_torch_cuda_randperm(int64_t n, int32_t* dtype, int32_t* layout,
                                                   int32_t* device, int32_t device_index_,
                                                   int32_t* pin_memory, AtenTensorHandle* ret0);

#ifdef __cplusplus
}
#endif
