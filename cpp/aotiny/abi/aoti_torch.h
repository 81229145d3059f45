/* The part of PyTorch's AOTInductor C ABI that aotiny exports.
 *
 * Names, argument order and semantics are those of torch 2.13 (torch/csrc/inductor/aoti_torch/c/
 * shim.h and generated/c_shim_cpu.h); symbols.def lists every name. Unless its comment says
 * otherwise a function returns 0, or the numeric value of an aotiny::Status with the sentence in
 * aotiny_last_error(), and leaves its out-pointers null on failure. Sizes and strides count
 * elements.
 *
 * "New" handles belong to the caller, who gives them to aoti_torch_delete_tensor_object. "Borrowed"
 * pointers live as long as the handle they came from.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define AOTINY_API __attribute__((visibility("default")))
#else
#define AOTINY_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef struct AtenTensorOpaque* AtenTensorHandle;
typedef struct AOTIProxyExecutorOpaque* AOTIProxyExecutorHandle;
typedef int32_t AOTITorchError;

/* Codes of devices, dtypes, layouts and memory formats. Cannot fail. */
AOTINY_API int32_t aoti_torch_device_type_cpu(void);
AOTINY_API int32_t aoti_torch_device_type_cuda(void);
AOTINY_API int32_t aoti_torch_dtype_uint8(void);
AOTINY_API int32_t aoti_torch_dtype_int8(void);
AOTINY_API int32_t aoti_torch_dtype_int16(void);
AOTINY_API int32_t aoti_torch_dtype_int32(void);
AOTINY_API int32_t aoti_torch_dtype_int64(void);
AOTINY_API int32_t aoti_torch_dtype_float16(void);
AOTINY_API int32_t aoti_torch_dtype_float32(void);
AOTINY_API int32_t aoti_torch_dtype_float64(void);
AOTINY_API int32_t aoti_torch_dtype_complex32(void);
AOTINY_API int32_t aoti_torch_dtype_complex64(void);
AOTINY_API int32_t aoti_torch_dtype_complex128(void);
AOTINY_API int32_t aoti_torch_dtype_bool(void);
AOTINY_API int32_t aoti_torch_dtype_bfloat16(void);
AOTINY_API int32_t aoti_torch_dtype_float8_e5m2(void);
AOTINY_API int32_t aoti_torch_dtype_float8_e4m3fn(void);
AOTINY_API int32_t aoti_torch_dtype_float8_e5m2fnuz(void);
AOTINY_API int32_t aoti_torch_dtype_float8_e4m3fnuz(void);
AOTINY_API int32_t aoti_torch_dtype_uint16(void);
AOTINY_API int32_t aoti_torch_dtype_uint32(void);
AOTINY_API int32_t aoti_torch_dtype_uint64(void);
/* The bytes of an element; 0 for a code that is none. */
AOTINY_API size_t aoti_torch_dtype_element_size(int32_t dtype);
AOTINY_API int32_t aoti_torch_layout_strided(void);
AOTINY_API int32_t aoti_torch_layout_sparse_coo(void);
AOTINY_API int32_t aoti_torch_layout_sparse_csr(void);
AOTINY_API int32_t aoti_torch_layout_sparse_csc(void);
AOTINY_API int32_t aoti_torch_layout_sparse_bsr(void);
AOTINY_API int32_t aoti_torch_layout_sparse_bsc(void);
AOTINY_API int32_t aoti_torch_layout__mkldnn(void);
AOTINY_API int32_t aoti_torch_layout_jagged(void);
AOTINY_API int32_t aoti_torch_memory_format_contiguous_format(void);
AOTINY_API int32_t aoti_torch_memory_format_preserve_format(void);
AOTINY_API int32_t aoti_torch_memory_format_channels_last(void);
AOTINY_API int32_t aoti_torch_memory_format_channels_last_3d(void);

/* Gradient mode of the calling thread; models switch it off and restore it. Cannot fail. */
AOTINY_API bool aoti_torch_grad_mode_is_enabled(void);
AOTINY_API void aoti_torch_grad_mode_set_enabled(bool enabled);

/* Attributes. storage_size is in bytes; sizes and strides are borrowed; data_ptr has the storage
 * offset added. */
AOTINY_API AOTITorchError aoti_torch_get_data_ptr(AtenTensorHandle tensor, void** ret_data_ptr);
AOTINY_API AOTITorchError aoti_torch_get_storage_size(AtenTensorHandle tensor, int64_t* ret_size);
AOTINY_API AOTITorchError aoti_torch_get_storage_numel(AtenTensorHandle tensor, int64_t* ret_numel);
AOTINY_API AOTITorchError aoti_torch_get_storage_offset(AtenTensorHandle tensor,
                                                        int64_t* ret_storage_offset);
AOTINY_API AOTITorchError aoti_torch_get_dim(AtenTensorHandle tensor, int64_t* ret_dim);
AOTINY_API AOTITorchError aoti_torch_get_numel(AtenTensorHandle tensor, int64_t* ret_numel);
AOTINY_API AOTITorchError aoti_torch_get_sizes(AtenTensorHandle tensor, int64_t** ret_sizes);
AOTINY_API AOTITorchError aoti_torch_get_size(AtenTensorHandle tensor, int64_t d,
                                              int64_t* ret_size);
AOTINY_API AOTITorchError aoti_torch_get_strides(AtenTensorHandle tensor, int64_t** ret_strides);
AOTINY_API AOTITorchError aoti_torch_get_stride(AtenTensorHandle tensor, int64_t d,
                                                int64_t* ret_stride);
AOTINY_API AOTITorchError aoti_torch_get_dtype(AtenTensorHandle tensor, int32_t* ret_dtype);
AOTINY_API AOTITorchError aoti_torch_get_device_type(AtenTensorHandle tensor,
                                                     int32_t* ret_device_type);
AOTINY_API AOTITorchError aoti_torch_get_device_index(AtenTensorHandle tensor,
                                                      int32_t* ret_device_index);
AOTINY_API AOTITorchError aoti_torch_get_layout(AtenTensorHandle tensor, int32_t* ret_layout);
AOTINY_API AOTITorchError aoti_torch_is_contiguous(AtenTensorHandle tensor,
                                                   bool* ret_is_contiguous);
AOTINY_API AOTITorchError aoti_torch_is_defined(AtenTensorHandle tensor, bool* ret_is_defined);

/* Creation. Every handle is new. */
AOTINY_API AOTITorchError aoti_torch_new_tensor_handle(AtenTensorHandle orig_handle,
                                                       AtenTensorHandle* new_handle);
AOTINY_API AOTITorchError aoti_torch_new_uninitialized_tensor(AtenTensorHandle* ret);
AOTINY_API AOTITorchError aoti_torch_empty_strided(int64_t ndim, const int64_t* sizes_ptr,
                                                   const int64_t* strides_ptr, int32_t dtype,
                                                   int32_t device_type, int32_t device_index,
                                                   AtenTensorHandle* ret_new_tensor);
/* The memory stays the caller's and must outlive every view; a null `data` asks for new memory. */
AOTINY_API AOTITorchError aoti_torch_create_tensor_from_blob(
    void* data, int64_t ndim, const int64_t* sizes_ptr, const int64_t* strides_ptr,
    int64_t storage_offset, int32_t dtype, int32_t device_type, int32_t device_index,
    AtenTensorHandle* ret);
/* Only strided layout (0) without opaque metadata. */
AOTINY_API AOTITorchError aoti_torch_create_tensor_from_blob_v2(
    void* data, int64_t ndim, const int64_t* sizes_ptr, const int64_t* strides_ptr,
    int64_t storage_offset, int32_t dtype, int32_t device_type, int32_t device_index,
    AtenTensorHandle* ret, int32_t layout, const uint8_t* opaque_metadata,
    int64_t opaque_metadata_size);
/* Accepts null and never fails. */
AOTINY_API AOTITorchError aoti_torch_delete_tensor_object(AtenTensorHandle tensor);

/* Views and copies. The storage_offset of _reinterpret_tensor is added to that of `self`.
 * _alloc_from_pool views a part of a contiguous tensor's bytes, from offset_bytes on, as elements
 * of another dtype. */
AOTINY_API AOTITorchError aoti_torch__alloc_from_pool(AtenTensorHandle self, int64_t offset_bytes,
                                                      int32_t dtype, int64_t ndim,
                                                      const int64_t* sizes_ptr,
                                                      const int64_t* strides_ptr,
                                                      AtenTensorHandle* ret_new_tensor);
AOTINY_API AOTITorchError aoti_torch__reinterpret_tensor(AtenTensorHandle self, int64_t ndim,
                                                         const int64_t* sizes_ptr,
                                                         const int64_t* strides_ptr,
                                                         int64_t storage_offset,
                                                         AtenTensorHandle* ret_new_tensor);
AOTINY_API AOTITorchError aoti_torch_as_strided(AtenTensorHandle self, const int64_t* sizes_ptr,
                                                const int64_t* strides_ptr, AtenTensorHandle* ret);
AOTINY_API AOTITorchError aoti_torch_clone(AtenTensorHandle self, AtenTensorHandle* ret);
AOTINY_API AOTITorchError aoti_torch_clone_preserve_strides(AtenTensorHandle self,
                                                            AtenTensorHandle* ret);
AOTINY_API AOTITorchError aoti_torch_copy_(AtenTensorHandle self, AtenTensorHandle src,
                                           int32_t non_blocking);
AOTINY_API AOTITorchError aoti_torch_tensor_copy_(AtenTensorHandle src, AtenTensorHandle dst);
AOTINY_API AOTITorchError aoti_torch_zero_(AtenTensorHandle self);
/* dst becomes another handle on src's storage, with src's shape. */
AOTINY_API AOTITorchError aoti_torch_assign_tensors(AtenTensorHandle src, AtenTensorHandle dst);
AOTINY_API AOTITorchError aoti_torch_assign_tensors_out(AtenTensorHandle src,
                                                        AtenTensorHandle* ret_dst);

/* The value of a tensor with one element, converted to the type in the name; InvalidArgument if it
 * does not fit. The 16-bit floats are given as their bits. */
AOTINY_API AOTITorchError aoti_torch_item_float16(AtenTensorHandle tensor, uint16_t* ret_value);
AOTINY_API AOTITorchError aoti_torch_item_float32(AtenTensorHandle tensor, float* ret_value);
AOTINY_API AOTITorchError aoti_torch_item_float64(AtenTensorHandle tensor, double* ret_value);
AOTINY_API AOTITorchError aoti_torch_item_uint8(AtenTensorHandle tensor, uint8_t* ret_value);
AOTINY_API AOTITorchError aoti_torch_item_uint16(AtenTensorHandle tensor, uint16_t* ret_value);
AOTINY_API AOTITorchError aoti_torch_item_uint32(AtenTensorHandle tensor, uint32_t* ret_value);
AOTINY_API AOTITorchError aoti_torch_item_uint64(AtenTensorHandle tensor, uint64_t* ret_value);
AOTINY_API AOTITorchError aoti_torch_item_int8(AtenTensorHandle tensor, int8_t* ret_value);
AOTINY_API AOTITorchError aoti_torch_item_int16(AtenTensorHandle tensor, int16_t* ret_value);
AOTINY_API AOTITorchError aoti_torch_item_int32(AtenTensorHandle tensor, int32_t* ret_value);
AOTINY_API AOTITorchError aoti_torch_item_int64(AtenTensorHandle tensor, int64_t* ret_value);
AOTINY_API AOTITorchError aoti_torch_item_bool(AtenTensorHandle tensor, bool* ret_value);
AOTINY_API AOTITorchError aoti_torch_item_bfloat16(AtenTensorHandle tensor, uint16_t* ret_value);

/* A new 0-dimensional CPU tensor of this value. */
AOTINY_API AOTITorchError aoti_torch_scalar_to_tensor_float32(float value,
                                                              AtenTensorHandle* ret_new_tensor);
AOTINY_API AOTITorchError aoti_torch_scalar_to_tensor_float64(double value,
                                                              AtenTensorHandle* ret_new_tensor);
AOTINY_API AOTITorchError aoti_torch_scalar_to_tensor_uint8(uint8_t value,
                                                            AtenTensorHandle* ret_new_tensor);
AOTINY_API AOTITorchError aoti_torch_scalar_to_tensor_uint16(uint16_t value,
                                                             AtenTensorHandle* ret_new_tensor);
AOTINY_API AOTITorchError aoti_torch_scalar_to_tensor_uint32(uint32_t value,
                                                             AtenTensorHandle* ret_new_tensor);
AOTINY_API AOTITorchError aoti_torch_scalar_to_tensor_uint64(uint64_t value,
                                                             AtenTensorHandle* ret_new_tensor);
AOTINY_API AOTITorchError aoti_torch_scalar_to_tensor_int8(int8_t value,
                                                           AtenTensorHandle* ret_new_tensor);
AOTINY_API AOTITorchError aoti_torch_scalar_to_tensor_int16(int16_t value,
                                                            AtenTensorHandle* ret_new_tensor);
AOTINY_API AOTITorchError aoti_torch_scalar_to_tensor_int32(int32_t value,
                                                            AtenTensorHandle* ret_new_tensor);
AOTINY_API AOTITorchError aoti_torch_scalar_to_tensor_int64(int64_t value,
                                                            AtenTensorHandle* ret_new_tensor);
AOTINY_API AOTITorchError aoti_torch_scalar_to_tensor_bool(bool value,
                                                           AtenTensorHandle* ret_new_tensor);

/* Throws a C++ std::runtime_error with `msg` unless `cond` holds: its contract in torch, caught by
 * the model's own entry points. */
AOTINY_API void aoti_torch_check(bool cond, const char* func, const char* file, uint32_t line,
                                 const char* msg);
/* Keeps the message as the thread's last warning (aotiny_last_warning); prints nothing. */
AOTINY_API void aoti_torch_warn(const char* func, const char* file, uint32_t line, const char* msg);

/* An operator without a C shim. Fails with OperatorMissing, naming the operator. */
AOTINY_API AOTITorchError aoti_torch_proxy_executor_call_function(
    AOTIProxyExecutorHandle proxy_executor, int extern_node_index, int num_ints,
    int64_t* flatten_int_args, int num_tensors, AtenTensorHandle* flatten_tensor_args);

/* Dense products into `out`, which keeps its own strides. fp32, fp64, fp16, bf16; accumulated in
 * fp32 (fp64 for fp64). mm: [M, K] x [K, N]; bmm: [B, M, K] x [B, K, N]; addmm: beta * self +
 * alpha * (mat1 x mat2), where self broadcasts to [M, N]; baddbmm: the same for every b < B. With
 * beta 0 the values of self are not read. */
AOTINY_API AOTITorchError aoti_torch_cpu_mm_out(AtenTensorHandle out, AtenTensorHandle self,
                                                AtenTensorHandle mat2);
AOTINY_API AOTITorchError aoti_torch_cpu_addmm_out(AtenTensorHandle out, AtenTensorHandle self,
                                                   AtenTensorHandle mat1, AtenTensorHandle mat2,
                                                   double beta, double alpha);
AOTINY_API AOTITorchError aoti_torch_cpu_bmm_out(AtenTensorHandle out, AtenTensorHandle self,
                                                 AtenTensorHandle mat2);
AOTINY_API AOTITorchError aoti_torch_cpu_baddbmm_out(AtenTensorHandle out, AtenTensorHandle self,
                                                     AtenTensorHandle batch1,
                                                     AtenTensorHandle batch2, double beta,
                                                     double alpha);

/* Attention: query [B, H, Tq, D], key and value [B, Hkv, Tk, D], Hkv a divisor of H. ret0 is the
 * output with the strides of empty_like(query); ret1 the log-sum-exp [B, H, Tq] with strides
 * (H * Tq, 1, H), in fp32 (fp64 for fp64). The causal mask is aligned to the top left; `attn_mask`
 * (optional) is additive, 2-D or 4-D, of the query's dtype or fp32; a fully masked row gives 0.
 * Dropout must be 0. */
AOTINY_API AOTITorchError aoti_torch_cpu__scaled_dot_product_flash_attention_for_cpu(
    AtenTensorHandle query, AtenTensorHandle key, AtenTensorHandle value, double dropout_p,
    int32_t is_causal, AtenTensorHandle* attn_mask, double* scale, AtenTensorHandle* ret0,
    AtenTensorHandle* ret1);

/* Selection and scans. Values and int64 indices are new tensors. */
AOTINY_API AOTITorchError aoti_torch_cpu_topk(AtenTensorHandle self, int64_t k, int64_t dim,
                                              int32_t largest, int32_t sorted,
                                              AtenTensorHandle* ret0, AtenTensorHandle* ret1);
AOTINY_API AOTITorchError aoti_torch_cpu_sort_stable(AtenTensorHandle self, int32_t* stable,
                                                     int64_t dim, int32_t descending,
                                                     AtenTensorHandle* ret0,
                                                     AtenTensorHandle* ret1);
AOTINY_API AOTITorchError aoti_torch_cpu_cumsum(AtenTensorHandle self, int64_t dim, int32_t* dtype,
                                                AtenTensorHandle* ret0);
AOTINY_API AOTITorchError aoti_torch_cpu_cumprod(AtenTensorHandle self, int64_t dim, int32_t* dtype,
                                                 AtenTensorHandle* ret0);
/* [count, ndim], with strides (1, count). */
AOTINY_API AOTITorchError aoti_torch_cpu_nonzero(AtenTensorHandle self, AtenTensorHandle* ret0);

/* torch's CPU int4 op on weights packed by _convert_weight_to_int4pack_for_cpu:
 * w = (q - 8) * scale + zero. */
AOTINY_API AOTITorchError aoti_torch_cpu__weight_int4pack_mm_cpu_tensor(
    AtenTensorHandle x, AtenTensorHandle w, AtenTensorHandle q_group_size,
    AtenTensorHandle q_scale_and_zeros, AtenTensorHandle* ret0);
/* torch's GPU int4 op, on weights packed by _convert_weight_to_int4pack, with sums in fp32: mat2
 * int32 [N/8, K/(16*t), 32, t/2] with t = 2, 4 or 8; qGroupSize 32, 64, 128 or 256; qScaleAndZeros
 * bf16 [K/g, N, 2]; self [M, K] in fp32, fp16 or bf16, ret0 [M, N] likewise. */
AOTINY_API AOTITorchError aoti_torch_cpu__weight_int4pack_mm(AtenTensorHandle self,
                                                             AtenTensorHandle mat2,
                                                             int64_t qGroupSize,
                                                             AtenTensorHandle qScaleAndZeros,
                                                             AtenTensorHandle* ret0);

/* y = x W^T with CoalescedInt4 weights and activations quantized to int8 per block of 32. One name
 * serves every variant; arguments after the fourth depend on it, told apart by the dtypes of the
 * third and fourth tensors:
 *   A: (self, qdata, scale bf16, zero bf16,            int64 group_size, ret0*)
 *   H: (self, qdata, scale fp16, zero fp16,            int64 group_size, ret0*)
 *   B: (self, qdata, scale u8,   zero u8,   steps bf16, int64 group_size, ret0*)
 *   C: (self, qdata, scale u8, scale_step fp16, zero u8, zero_point_step fp16, int64 group_size,
 *       ret0*)
 * so the trailing arguments are passed as the pointer-sized integers they are in registers. */
AOTINY_API AOTITorchError aoti_torch_cpu_int4_plain_mm(
    AtenTensorHandle self, AtenTensorHandle qdata, AtenTensorHandle scale, AtenTensorHandle fourth,
    intptr_t fifth, intptr_t sixth, intptr_t seventh, intptr_t eighth);
/* y = x W^T with ExactInt4 weights, (q * scale * d - min * dmin): scale, min u8 [N, K/32]; d, dmin
 * fp16 [N, K/256]; group_size is 32. */
AOTINY_API AOTITorchError aoti_torch_cpu_exact_int4_plain_mm(
    AtenTensorHandle self, AtenTensorHandle qdata, AtenTensorHandle scale, AtenTensorHandle min,
    AtenTensorHandle d, AtenTensorHandle dmin, int64_t group_size, AtenTensorHandle* ret0);
/* y = x W^T with ExactInt5 weights, (q * scale * d - min * dmin): ql u8 [N, K/2], qh u8 [N, K/8];
 * scale, min u8 [N, K/32]; d, dmin fp16 [N, K/256]; group_size is 32. */
AOTINY_API AOTITorchError aoti_torch_cpu_exact_int5_plain_mm(
    AtenTensorHandle self, AtenTensorHandle ql, AtenTensorHandle qh, AtenTensorHandle scale,
    AtenTensorHandle min, AtenTensorHandle d, AtenTensorHandle dmin, int64_t group_size,
    AtenTensorHandle* ret0);
/* y = x W^T with PlanarInt6 weights: ql u8 [N, K/2], qh u8 [N, K/4]. The dtypes of scale and steps
 * tell the variants apart, which have different numbers of arguments, as int4_plain_mm's do:
 *   A: (self, ql, qh, scale bf16,                      int64 group_size, ret0*)
 *   B: (self, ql, qh, scale int8, steps bf16 [N, 1],     int64 group_size, ret0*)
 *   C: (self, ql, qh, scale int8, steps fp16 [N, K/256], int64 group_size, ret0*) */
AOTINY_API AOTITorchError aoti_torch_cpu_int6_plain_mm(AtenTensorHandle self, AtenTensorHandle ql,
                                                       AtenTensorHandle qh, AtenTensorHandle scale,
                                                       intptr_t fifth, intptr_t sixth,
                                                       intptr_t seventh);
/* y = x W^T with Int8 weights: scale bf16 (A) or fp16 (H) [N, K/g], zero int8 [N, K/g]. */
AOTINY_API AOTITorchError aoti_torch_cpu_int8_plain_mm(AtenTensorHandle self,
                                                       AtenTensorHandle qdata,
                                                       AtenTensorHandle scale,
                                                       AtenTensorHandle zero, int64_t group_size,
                                                       AtenTensorHandle* ret0);

/* Products and look-ups for every format. A weight is given as its planes, in the format's order,
 * with the names of format and variant ("CoalescedInt4", "B"; "" where there is one variant).
 *   weight_matmul     x [..., K] -> [..., N], x W^T + bias; bias [N] or null
 *   weight_bmm        x [B, M, K] by a stack [B, N, K] -> [B, M, N]
 *   weight_embedding  int64 or int32 indices [...] -> [..., K] in `dtype` */
AOTINY_API AOTITorchError aoti_torch_cpu_weight_matmul(
    AtenTensorHandle x, const AtenTensorHandle* planes, int64_t num_planes, const char* format,
    const char* variant, int64_t group_size, AtenTensorHandle* bias, AtenTensorHandle* ret0);
AOTINY_API AOTITorchError aoti_torch_cpu_weight_bmm(AtenTensorHandle x,
                                                    const AtenTensorHandle* planes,
                                                    int64_t num_planes, const char* format,
                                                    const char* variant, int64_t group_size,
                                                    AtenTensorHandle* ret0);
AOTINY_API AOTITorchError aoti_torch_cpu_weight_embedding(AtenTensorHandle indices,
                                                          const AtenTensorHandle* planes,
                                                          int64_t num_planes, const char* format,
                                                          const char* variant, int64_t group_size,
                                                          int32_t dtype, AtenTensorHandle* ret0);

#ifdef __cplusplus
}
#endif
