#include "aotiny/core/check.h"

#include <mutex>
#include <sstream>
#include <string>

#include "aotiny/core/ruin.h"
#include "aotiny/core/status.h"

namespace aotiny::cuda {
namespace {

Status status_of(cudaError_t code) {
  switch (code) {
    case cudaErrorMemoryAllocation:
      return Status::MemoryAllocationFailed;
    case cudaErrorInvalidValue:
    case cudaErrorInvalidDevice:
    case cudaErrorInvalidResourceHandle:
      return Status::InvalidArgument;
    case cudaErrorNotSupported:
    case cudaErrorNoKernelImageForDevice:
      return Status::NotSupported;
    case cudaErrorStreamCaptureUnsupported:
    case cudaErrorStreamCaptureInvalidated:
    case cudaErrorStreamCaptureMerge:
    case cudaErrorStreamCaptureUnmatched:
    case cudaErrorStreamCaptureUnjoined:
    case cudaErrorStreamCaptureIsolation:
    case cudaErrorStreamCaptureImplicit:
    case cudaErrorStreamCaptureWrongThread:
      return Status::InvalidState;
    default:
      return Status::Internal;
  }
}

// The first failure that ruined the context, "" before it. There is one context a process and
// device, and no way back, so this is a fact about the process.
struct Ruin {
  std::mutex mutex;
  std::string sentence;
};

Ruin& ruin() {
  static Ruin& instance = *new Ruin;
  return instance;
}

}  // namespace

bool is_ruin(cudaError_t code) noexcept {
  switch (code) {
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorContextIsDestroyed:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure:
    case cudaErrorMpsClientTerminated:
#if CUDART_VERSION >= 13000
    case cudaErrorContained:
    case cudaErrorTensorMemoryLeak:
#endif
      return true;
    default:
      return false;
  }
}

void fail_on(cudaError_t code, const char* expression, const char* file, int line) {
  (void)cudaGetLastError();
  std::ostringstream text;
  text << expression << " failed at " << file << ':' << line << ": " << cudaGetErrorString(code)
       << " (" << cudaGetErrorName(code) << ')';
  if (!is_ruin(code)) throw Error(status_of(code), text.str());

  Ruin& known = ruin();
  const std::lock_guard lock(known.mutex);
  if (!known.sentence.empty()) {
    fail(Status::InvalidState, expression, " was not tried at ", file, ':', line,
         ": this process can no longer use CUDA, because earlier ", known.sentence);
  }
  known.sentence = text.str();
  fail(Status::Internal, known.sentence,
       "; the error may come from work that was put into a stream before this call");
}

}  // namespace aotiny::cuda
