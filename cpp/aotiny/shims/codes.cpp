// The codes of devices, dtypes, layouts and memory formats.
//
// Models call these from static initialisers, while they are being opened.
#include "aotiny/abi/aoti_torch.h"
#include "aotiny/core/device.h"
#include "aotiny/core/dtype.h"

namespace {

constexpr int32_t code(aotiny::DeviceType type) { return static_cast<int32_t>(type); }
constexpr int32_t code(aotiny::DType dtype) { return static_cast<int32_t>(dtype); }

}  // namespace

using aotiny::DeviceType;
using aotiny::DType;

int32_t aoti_torch_device_type_cpu() { return code(DeviceType::CPU); }
int32_t aoti_torch_device_type_cuda() { return code(DeviceType::CUDA); }

int32_t aoti_torch_dtype_uint8() { return code(DType::UInt8); }
int32_t aoti_torch_dtype_int8() { return code(DType::Int8); }
int32_t aoti_torch_dtype_int16() { return code(DType::Int16); }
int32_t aoti_torch_dtype_int32() { return code(DType::Int32); }
int32_t aoti_torch_dtype_int64() { return code(DType::Int64); }
int32_t aoti_torch_dtype_float16() { return code(DType::Float16); }
int32_t aoti_torch_dtype_float32() { return code(DType::Float32); }
int32_t aoti_torch_dtype_float64() { return code(DType::Float64); }
int32_t aoti_torch_dtype_complex32() { return code(DType::ComplexFloat16); }
int32_t aoti_torch_dtype_complex64() { return code(DType::ComplexFloat32); }
int32_t aoti_torch_dtype_complex128() { return code(DType::ComplexFloat64); }
int32_t aoti_torch_dtype_bool() { return code(DType::Bool); }
int32_t aoti_torch_dtype_bfloat16() { return code(DType::BFloat16); }
int32_t aoti_torch_dtype_float8_e5m2() { return code(DType::Float8E5M2); }
int32_t aoti_torch_dtype_float8_e4m3fn() { return code(DType::Float8E4M3FN); }
int32_t aoti_torch_dtype_float8_e5m2fnuz() { return code(DType::Float8E5M2FNUZ); }
int32_t aoti_torch_dtype_float8_e4m3fnuz() { return code(DType::Float8E4M3FNUZ); }
int32_t aoti_torch_dtype_uint16() { return code(DType::UInt16); }
int32_t aoti_torch_dtype_uint32() { return code(DType::UInt32); }
int32_t aoti_torch_dtype_uint64() { return code(DType::UInt64); }

size_t aoti_torch_dtype_element_size(int32_t dtype) {
  size_t bytes = 0;
  (void)aotiny::guarded([&] { bytes = aotiny::itemsize(aotiny::dtype_from_code(dtype)); });
  return bytes;
}

// Only strided tensors exist here; the other codes let a model name what it does not use.
int32_t aoti_torch_layout_strided() { return 0; }
int32_t aoti_torch_layout_sparse_coo() { return 1; }
int32_t aoti_torch_layout_sparse_csr() { return 2; }
int32_t aoti_torch_layout__mkldnn() { return 3; }
int32_t aoti_torch_layout_sparse_csc() { return 4; }
int32_t aoti_torch_layout_sparse_bsr() { return 5; }
int32_t aoti_torch_layout_sparse_bsc() { return 6; }
int32_t aoti_torch_layout_jagged() { return 7; }

int32_t aoti_torch_memory_format_contiguous_format() { return 0; }
int32_t aoti_torch_memory_format_preserve_format() { return 1; }
int32_t aoti_torch_memory_format_channels_last() { return 2; }
int32_t aoti_torch_memory_format_channels_last_3d() { return 3; }
