// Status codes, the exception that carries one, and the thread's last error.
//
// Inside aotiny a failure is thrown as an Error: a code and a sentence with the numbers in it.
// At the C boundary `guarded` turns whatever was thrown into its code and keeps the sentence in a
// thread-local, so nothing but an int32 ever crosses.
#pragma once

#include <cstdint>
#include <exception>
#include <sstream>
#include <string>
#include <utility>

namespace aotiny {

// Success, or the numeric values of ExecuTorch's Error, so that a caller of either can tell the
// failures apart.
enum class [[nodiscard]] Status : int32_t{
    Ok = 0x00,
    Internal = 0x01,
    InvalidState = 0x02,
    NotSupported = 0x10,
    NotImplemented = 0x11,
    InvalidArgument = 0x12,
    InvalidType = 0x13,
    OperatorMissing = 0x14,
    NotFound = 0x20,
    MemoryAllocationFailed = 0x21,
    AccessFailed = 0x22,
    InvalidProgram = 0x23,
};

// "InvalidArgument"; "unknown status" for a value outside the enum.
const char* status_name(Status status) noexcept;

// One general sentence for the status.
const char* status_message(Status status) noexcept;

class Error : public std::exception {
 public:
  Error(Status status, std::string text) : status_(status), text_(std::move(text)) {}
  Status status() const noexcept { return status_; }
  const char* what() const noexcept override { return text_.c_str(); }

 private:
  Status status_;
  std::string text_;
};

// Throws an Error whose text is the parts, streamed one after the other.
template <class... Parts>
[[noreturn, gnu::noinline, gnu::cold]] void fail(Status status, const Parts&... parts) {
  std::ostringstream text;
  (text << ... << parts);
  throw Error(status, std::move(text).str());
}

// Fails with the parts unless `condition` holds. The parts are only formatted on failure.
template <class... Parts>
inline void require(bool condition, Status status, const Parts&... parts) {
  if (!condition) [[unlikely]] {
    fail(status, parts...);
  }
}

// The sentence of this thread's most recent failure, "" if there was none. Like errno, a success
// leaves it alone. Valid until the next failure on this thread.
const char* last_error() noexcept;
void set_last_error(const char* text) noexcept;

// The sentence of this thread's most recent warning, "" if there was none. Valid until the next
// warning on this thread.
const char* last_warning() noexcept;
void set_last_warning(const char* text) noexcept;

// For a catch block: stores the current exception's sentence as the last error, returns its code.
Status record_current_exception() noexcept;

// Runs `body` for a C entry point: 0, or the code of what it threw.
template <class Body>
int32_t guarded(Body&& body) noexcept {
  try {
    std::forward<Body>(body)();
    return static_cast<int32_t>(Status::Ok);
  } catch (...) {
    return static_cast<int32_t>(record_current_exception());
  }
}

}  // namespace aotiny
