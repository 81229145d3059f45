#include "aotiny/core/status.h"

#include <new>

namespace aotiny {
namespace {

struct StatusText {
  Status status;
  const char* name;
  const char* message;
};

constexpr StatusText kStatusTexts[] = {
    {Status::Ok, "Ok", "success"},
    {Status::Internal, "Internal", "an internal error occurred"},
    {Status::InvalidState, "InvalidState", "the object is not in a state that allows this call"},
    {Status::NotSupported, "NotSupported", "the operation is not supported for these arguments"},
    {Status::NotImplemented, "NotImplemented", "the operation has no implementation"},
    {Status::InvalidArgument, "InvalidArgument", "an argument is invalid"},
    {Status::InvalidType, "InvalidType", "an argument has the wrong type"},
    {Status::OperatorMissing, "OperatorMissing", "an operator the program needs is missing"},
    {Status::NotFound, "NotFound", "the thing asked for does not exist"},
    {Status::MemoryAllocationFailed, "MemoryAllocationFailed", "memory could not be allocated"},
    {Status::AccessFailed, "AccessFailed", "a file or resource could not be accessed"},
    {Status::InvalidProgram, "InvalidProgram", "the program or package is malformed"},
};

const StatusText* find_text(Status status) noexcept {
  for (const StatusText& text : kStatusTexts) {
    if (text.status == status) return &text;
  }
  return nullptr;
}

thread_local std::string t_last_error;
thread_local std::string t_last_warning;

void keep(std::string& kept, const char* text) noexcept {
  try {
    kept = text;
  } catch (...) {
    kept.clear();  // no memory even for the message: better none than a stale one
  }
}

}  // namespace

const char* status_name(Status status) noexcept {
  const StatusText* text = find_text(status);
  return text ? text->name : "unknown status";
}

const char* status_message(Status status) noexcept {
  const StatusText* text = find_text(status);
  return text ? text->message : "unknown status";
}

const char* last_error() noexcept { return t_last_error.c_str(); }

void set_last_error(const char* text) noexcept { keep(t_last_error, text); }

const char* last_warning() noexcept { return t_last_warning.c_str(); }

void set_last_warning(const char* text) noexcept { keep(t_last_warning, text); }

Status record_current_exception() noexcept {
  try {
    throw;
  } catch (const Error& error) {
    set_last_error(error.what());
    return error.status();
  } catch (const std::bad_alloc&) {
    set_last_error(status_message(Status::MemoryAllocationFailed));
    return Status::MemoryAllocationFailed;
  } catch (const std::exception& error) {
    set_last_error(error.what());
    return Status::Internal;
  } catch (...) {
    set_last_error("an exception of unknown type was thrown");
    return Status::Internal;
  }
}

}  // namespace aotiny
