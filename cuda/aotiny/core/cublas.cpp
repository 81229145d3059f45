#include "aotiny/core/cublas.h"

#include <cuda_runtime.h>
#include <dlfcn.h>
#include <library_types.h>

#include <mutex>
#include <sstream>
#include <string>
#include <vector>

#include "aotiny/core/check.h"
#include "aotiny/core/guard.h"
#include "aotiny/core/nvidia_libraries.h"
#include "aotiny/core/scratch.h"
#include "aotiny/core/status.h"
#include "aotiny/core/stream.h"

namespace aotiny::cuda {
namespace {

// --- what cublas_api.h declares ------------------------------------------------------------------

using Handle = struct CublasContext*;
using Result = int;  // cublasStatus_t
constexpr Result kSuccess = 0, kAllocationFailed = 3, kArchitectureMismatch = 8, kNotSupported = 15;
constexpr int kAsItLies = 0, kTranspose = 1;       // cublasOperation_t
constexpr int kCompute32 = 68, kCompute64 = 70;    // cublasComputeType_t: CUBLAS_COMPUTE_32F, _64F
constexpr int kDefaultAlgorithm = -1;              // cublasGemmAlgo_t: CUBLAS_GEMM_DEFAULT
constexpr int kNoReducedPrecisionReductions = 16;  // cublasMath_t, beside CUBLAS_DEFAULT_MATH, 0

// The functions with 64-bit sizes have been there since CUDA 12.
struct Cublas {
  Result (*get_property)(libraryPropertyType type, int* value);
  const char* (*get_status_string)(Result);
  Result (*create)(Handle*);
  Result (*set_math_mode)(Handle, int mode);
  Result (*set_stream)(Handle, cudaStream_t);
  Result (*set_workspace)(Handle, void* data, size_t nbytes);
  Result (*gemm)(Handle, int transpose_a, int transpose_b, int64_t m, int64_t n, int64_t k,
                 const void* alpha, const void* a, cudaDataType_t, int64_t lda, const void* b,
                 cudaDataType_t, int64_t ldb, const void* beta, void* c, cudaDataType_t,
                 int64_t ldc, int compute_type, int algorithm);
  Result (*gemm_batch)(Handle, int transpose_a, int transpose_b, int64_t m, int64_t n, int64_t k,
                       const void* alpha, const void* a, cudaDataType_t, int64_t lda,
                       long long stride_a, const void* b, cudaDataType_t, int64_t ldb,
                       long long stride_b, const void* beta, void* c, cudaDataType_t, int64_t ldc,
                       long long stride_c, int64_t batch, int compute_type, int algorithm);
  int version = 0;
};

// --- opening -------------------------------------------------------------------------------------

constexpr int kCudaMajor = CUDART_VERSION / 1000;

template <class Function>
void find(void* library, const char* name, Function*& function) {
  function = reinterpret_cast<Function*>(::dlsym(library, name));
  require(function != nullptr, Status::NotFound, "dense products on CUDA are not available: ",
          "the cuBLAS that was found has no function ", name);
}

Cublas open_cublas() {
  void* library = open_nvidia_library({.purpose = "dense products on CUDA are not available",
                                       .what = "cuBLAS's",
                                       .stem = "cublas",
                                       .package = "nvidia-cublas",
                                       .folder = "cublas",
                                       .major = kCudaMajor,
                                       .needs = "cublasLt"});
  Cublas cublas{};
  find(library, "cublasGetProperty", cublas.get_property);
  find(library, "cublasGetStatusString", cublas.get_status_string);
  find(library, "cublasCreate_v2", cublas.create);
  find(library, "cublasSetMathMode", cublas.set_math_mode);
  find(library, "cublasSetStream_v2", cublas.set_stream);
  find(library, "cublasSetWorkspace_v2", cublas.set_workspace);
  find(library, "cublasGemmEx_64", cublas.gemm);
  find(library, "cublasGemmStridedBatchedEx_64", cublas.gemm_batch);
  int major = 0, minor = 0, patch = 0;
  (void)cublas.get_property(MAJOR_VERSION, &major);
  (void)cublas.get_property(MINOR_VERSION, &minor);
  (void)cublas.get_property(PATCH_LEVEL, &patch);
  require(major == kCudaMajor, Status::NotFound,
          "dense products on CUDA are not available: the cuBLAS that was found has version ", major,
          '.', minor, '.', patch, ", and this aotiny needs version ", kCudaMajor);
  cublas.version = 10000 * major + 100 * minor + patch;
  return cublas;
}

// The library stays open. A failure is not kept: the next call tries again.
const Cublas& cublas() {
  static const Cublas opened = open_cublas();
  return opened;
}

void check(Result result, const char* what) {
  if (result == kSuccess) [[likely]]
    return;
  // What the library met may be CUDA's own error, which says more.
  AOTINY_CUDA_CHECK(cudaGetLastError());
  const bool unsupported = result == kNotSupported || result == kArchitectureMismatch;
  fail(result == kAllocationFailed ? Status::MemoryAllocationFailed
       : unsupported               ? Status::NotSupported
                                   : Status::Internal,
       what, " failed: ", cublas().get_status_string(result), " (cublasStatus_t ", result, ')');
}

// --- handles -------------------------------------------------------------------------------------

// The handle of a device, made when it is first needed.
struct DeviceHandle {
  std::mutex mutex;  // held while the handle is used
  Handle handle = nullptr;
};

// Never destroyed: threads may outlive the static objects.
DeviceHandle& handle_of(int device) {
  static auto& handles = *new std::vector<DeviceHandle>(static_cast<size_t>(device_count()));
  return handles[static_cast<size_t>(device)];
}

// --- a product -----------------------------------------------------------------------------------

// What NVIDIA recommends for Hopper and later, and for what came before.
int64_t workspace_bytes(int device) {
  int major = 0;
  AOTINY_CUDA_CHECK(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device));
  return int64_t{major >= 9 ? 32 : 4} << 20;
}

cudaDataType_t data_type(DType dtype) {
  switch (dtype) {
    case DType::Float32:
      return CUDA_R_32F;
    case DType::Float64:
      return CUDA_R_64F;
    case DType::Float16:
      return CUDA_R_16F;
    case DType::BFloat16:
      return CUDA_R_16BF;
    default:
      fail(Status::InvalidType, "cuBLAS: dtype ", dtype, " is not supported");
  }
}

template <class Scalar>  // of alpha and beta: the type of the sums
Result multiply(Handle handle, const CublasProduct& p, int compute_type) {
  const cudaDataType_t type = data_type(p.dtype), c_type = data_type(p.c_dtype);
  const Scalar alpha = static_cast<Scalar>(p.alpha), beta = static_cast<Scalar>(p.beta);
  const int a = p.a.is_transposed ? kTranspose : kAsItLies;
  const int b = p.b.is_transposed ? kTranspose : kAsItLies;
  if (p.batch == 1) {
    return cublas().gemm(handle, a, b, p.m, p.n, p.k, &alpha, p.a.data, type, p.a.leading, p.b.data,
                         type, p.b.leading, &beta, p.c.data, c_type, p.c.leading, compute_type,
                         kDefaultAlgorithm);
  }
  return cublas().gemm_batch(handle, a, b, p.m, p.n, p.k, &alpha, p.a.data, type, p.a.leading,
                             p.a.batch_stride, p.b.data, type, p.b.leading, p.b.batch_stride, &beta,
                             p.c.data, c_type, p.c.leading, p.c.batch_stride, p.batch, compute_type,
                             kDefaultAlgorithm);
}

std::string name_of(const CublasProduct& p) {
  std::ostringstream text;
  text << "cuBLAS's product of " << p.dtype << " matrices, m = " << p.m << ", n = " << p.n
       << ", k = " << p.k << ", batch = " << p.batch << ',';
  return text.str();
}

}  // namespace

void cublas_product(const CublasProduct& product, int device) {
  const DeviceGuard guard(device);
  (void)cublas();  // what is missing is told before anything is allocated
  const int64_t nbytes = workspace_bytes(device);
  // From our allocator: the library's own workspace would be shared by the graphs that captured it.
  const Scratch<char> workspace(nbytes, {DeviceType::CUDA, static_cast<int8_t>(device)});
  DeviceHandle& used = handle_of(device);
  const std::lock_guard lock(used.mutex);
  if (used.handle == nullptr) check(cublas().create(&used.handle), "cublasCreate");
  check(cublas().set_stream(used.handle, current_stream(device)), "cublasSetStream");
  check(cublas().set_workspace(used.handle, workspace.data(), static_cast<size_t>(nbytes)),
        "cublasSetWorkspace");
  check(cublas().set_math_mode(used.handle, kNoReducedPrecisionReductions), "cublasSetMathMode");
  const Result result = product.dtype == DType::Float64
                            ? multiply<double>(used.handle, product, kCompute64)
                            : multiply<float>(used.handle, product, kCompute32);
  if (result != kSuccess) check(result, name_of(product).c_str());
}

int cublas_version() { return cublas().version; }

}  // namespace aotiny::cuda
