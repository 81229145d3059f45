#include "aotiny/kernels/blas.h"

#include <dlfcn.h>

#include <cstdlib>
#include <memory>
#include <utility>
#include <vector>

namespace aotiny {
namespace {

// The C interface of a BLAS with 32-bit integers.
constexpr int kRowMajor = 101, kNoTranspose = 111, kTranspose = 112;
using Sgemm = void (*)(int, int, int, int, int, int, float, const float*, int, const float*, int,
                       float, float*, int);
using Dgemm = void (*)(int, int, int, int, int, int, double, const double*, int, const double*, int,
                       double, double*, int);
using SetNumThreads = void (*)(int);

struct Opened {
  std::unique_ptr<Blas> blas;
  std::string failure;
};

// The library stays open: its functions are called until the process ends.
std::unique_ptr<Blas> open_library(const std::string& name, std::string& failure) {
  void* library = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    failure += std::string("; ") + dlerror();
    return nullptr;
  }
  for (const std::string prefix : {"scipy_", ""}) {
    const auto find = [&](const char* symbol) { return dlsym(library, (prefix + symbol).c_str()); };
    void* sgemm = find("cblas_sgemm");
    void* dgemm = find("cblas_dgemm");
    void* set_num_threads = find("openblas_set_num_threads");
    if (sgemm == nullptr || dgemm == nullptr || set_num_threads == nullptr) continue;
    reinterpret_cast<SetNumThreads>(set_num_threads)(1);
    auto blas = std::make_unique<Blas>();
    blas->name = name;
    blas->sgemm_address = sgemm;
    blas->dgemm_address = dgemm;
    return blas;
  }
  dlclose(library);
  failure += "; " + name + ": no OpenBLAS with 32-bit integers";
  return nullptr;
}

Opened open_any() {
  std::vector<std::string> names = {"libscipy_openblas.so", "libopenblas.so.0"};
  if (const char* named = std::getenv("AOTINY_BLAS_LIBRARY"); named != nullptr && *named != '\0') {
    names = {named};  // asked for by name: nothing else will do
  }
  Opened opened;
  for (const std::string& name : names) {
    opened.blas = open_library(name, opened.failure);
    if (opened.blas) return opened;
  }
  opened.failure = "no BLAS could be opened" + opened.failure;
  return opened;
}

const Opened& opened() noexcept {
  static const Opened result = open_any();
  return result;
}

int as_int(int64_t value) { return static_cast<int>(value); }
int flag(bool transpose) { return transpose ? kTranspose : kNoTranspose; }

}  // namespace

void Blas::sgemm(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, float alpha,
                 const float* a, int64_t lda, const float* b, int64_t ldb, float beta, float* c,
                 int64_t ldc) const noexcept {
  reinterpret_cast<Sgemm>(sgemm_address)(kRowMajor, flag(transpose_a), flag(transpose_b), as_int(m),
                                         as_int(n), as_int(k), alpha, a, as_int(lda), b,
                                         as_int(ldb), beta, c, as_int(ldc));
}

void Blas::dgemm(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, double alpha,
                 const double* a, int64_t lda, const double* b, int64_t ldb, double beta, double* c,
                 int64_t ldc) const noexcept {
  reinterpret_cast<Dgemm>(dgemm_address)(kRowMajor, flag(transpose_a), flag(transpose_b), as_int(m),
                                         as_int(n), as_int(k), alpha, a, as_int(lda), b,
                                         as_int(ldb), beta, c, as_int(ldc));
}

const Blas* blas() noexcept { return opened().blas.get(); }
const std::string& blas_failure() noexcept { return opened().failure; }

}  // namespace aotiny
