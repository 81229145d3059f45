#include "aotiny/core/dtype.h"

#include <ostream>

namespace aotiny {
namespace {

struct DTypeInfo {
  DType dtype;
  const char* name;  // torch's name
  size_t itemsize;
  bool floating_point;
};

constexpr DTypeInfo kDTypes[] = {
    {DType::UInt8, "uint8", 1, false},
    {DType::Int8, "int8", 1, false},
    {DType::Int16, "int16", 2, false},
    {DType::Int32, "int32", 4, false},
    {DType::Int64, "int64", 8, false},
    {DType::Float16, "float16", 2, true},
    {DType::Float32, "float32", 4, true},
    {DType::Float64, "float64", 8, true},
    {DType::ComplexFloat16, "complex32", 4, false},
    {DType::ComplexFloat32, "complex64", 8, false},
    {DType::ComplexFloat64, "complex128", 16, false},
    {DType::Bool, "bool", 1, false},
    {DType::BFloat16, "bfloat16", 2, true},
    {DType::Float8E5M2, "float8_e5m2", 1, true},
    {DType::Float8E4M3FN, "float8_e4m3fn", 1, true},
    {DType::Float8E5M2FNUZ, "float8_e5m2fnuz", 1, true},
    {DType::Float8E4M3FNUZ, "float8_e4m3fnuz", 1, true},
    {DType::UInt16, "uint16", 2, false},
    {DType::UInt32, "uint32", 4, false},
    {DType::UInt64, "uint64", 8, false},
};

constexpr int kNumCodes = 30;

// Indexed by code, so that itemsize is one load on the allocation path.
struct CodeTable {
  const DTypeInfo* entries[kNumCodes] = {};
  constexpr CodeTable() {
    for (const DTypeInfo& info : kDTypes) entries[static_cast<int>(info.dtype)] = &info;
  }
};
constexpr CodeTable kByCode;

const DTypeInfo* find(int32_t code) noexcept {
  return code >= 0 && code < kNumCodes ? kByCode.entries[code] : nullptr;
}

}  // namespace

DType dtype_from_code(int32_t code) {
  require(find(code) != nullptr, Status::InvalidType, "dtype code ", code, " is unknown");
  return static_cast<DType>(code);
}

std::optional<DType> dtype_from_name(std::string_view name) noexcept {
  for (const DTypeInfo& info : kDTypes) {
    if (name == info.name) return info.dtype;
  }
  return std::nullopt;
}

const char* dtype_name(DType dtype) noexcept {
  const DTypeInfo* info = find(static_cast<int32_t>(dtype));
  return info ? info->name : "unknown dtype";
}

size_t itemsize(DType dtype) noexcept {
  const DTypeInfo* info = find(static_cast<int32_t>(dtype));
  return info ? info->itemsize : 0;
}

bool is_floating_point(DType dtype) noexcept {
  const DTypeInfo* info = find(static_cast<int32_t>(dtype));
  return info && info->floating_point;
}

std::ostream& operator<<(std::ostream& out, DType dtype) { return out << dtype_name(dtype); }

}  // namespace aotiny
