// Element types, with the numeric codes of torch's ScalarType, and the two 16-bit floats.
#pragma once

#include <bit>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <optional>
#include <string_view>
#include <type_traits>

#include "aotiny/core/status.h"

namespace aotiny {

enum class DType : int8_t {
  UInt8 = 0,
  Int8 = 1,
  Int16 = 2,
  Int32 = 3,
  Int64 = 4,
  Float16 = 5,
  Float32 = 6,
  Float64 = 7,
  ComplexFloat16 = 8,
  ComplexFloat32 = 9,
  ComplexFloat64 = 10,
  Bool = 11,
  BFloat16 = 15,
  Float8E5M2 = 23,
  Float8E4M3FN = 24,
  Float8E5M2FNUZ = 25,
  Float8E4M3FNUZ = 26,
  UInt16 = 27,
  UInt32 = 28,
  UInt64 = 29,
};

// The DType of a torch code; fails with InvalidType for a code aotiny does not know.
DType dtype_from_code(int32_t code);
// By name ("float32", "bfloat16", ...); nullopt if there is none.
std::optional<DType> dtype_from_name(std::string_view name) noexcept;
const char* dtype_name(DType dtype) noexcept;
size_t itemsize(DType dtype) noexcept;
bool is_floating_point(DType dtype) noexcept;
std::ostream& operator<<(std::ostream& out, DType dtype);

// Storage form of bfloat16. Converts to and from float, rounding to nearest even; NaN stays NaN.
struct BFloat16 {
  uint16_t bits = 0;

  BFloat16() = default;
  explicit BFloat16(float value) {
    const uint32_t word = std::bit_cast<uint32_t>(value);
    if ((word & 0x7fffffffu) > 0x7f800000u) {
      bits = static_cast<uint16_t>((word >> 16) | 0x0040u);
    } else {
      bits = static_cast<uint16_t>((word + 0x7fffu + ((word >> 16) & 1u)) >> 16);
    }
  }
  explicit operator float() const { return std::bit_cast<float>(uint32_t{bits} << 16); }
};

// Storage form of IEEE binary16, likewise.
struct Float16 {
  uint16_t bits = 0;

  Float16() = default;
  explicit Float16(float value);
  explicit operator float() const;
};

inline Float16::Float16(float value) {
  const uint32_t word = std::bit_cast<uint32_t>(value);
  const uint32_t sign = (word >> 16) & 0x8000u;
  const uint32_t magnitude = word & 0x7fffffffu;
  uint32_t half;
  if (magnitude > 0x7f800000u) {
    half = 0x7e00u | ((magnitude >> 13) & 0x01ffu);
  } else if (magnitude >= 0x477ff000u) {  // rounds to at least 2^16
    half = 0x7c00u;
  } else if (magnitude >= 0x38800000u) {  // normal: rebias, round to nearest even
    half = (magnitude + 0xc8000fffu + ((magnitude >> 13) & 1u)) >> 13;
  } else {  // subnormal: adding 0.5 lets the FPU do the rounding into the low bits
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    half = std::bit_cast<uint32_t>(shifted) - std::bit_cast<uint32_t>(0.5f);
  }
  bits = static_cast<uint16_t>(sign | half);
}

inline Float16::operator float() const {
  const uint32_t sign = uint32_t{bits & 0x8000u} << 16;
  const uint32_t magnitude = bits & 0x7fffu;
  float value;
  if (magnitude >= 0x7c00u) {
    value = std::bit_cast<float>(0x7f800000u | ((magnitude & 0x03ffu) << 13));
  } else if (magnitude >= 0x0400u) {
    value = std::bit_cast<float>((magnitude << 13) + 0x38000000u);
  } else {
    value = static_cast<float>(magnitude) * 0x1p-24f;
  }
  return std::bit_cast<float>(std::bit_cast<uint32_t>(value) | sign);
}

template <class T>
inline constexpr bool kIsFloat16 = std::is_same_v<T, BFloat16> || std::is_same_v<T, Float16>;

// The value of one element in another type, as torch converts: through float for the 16-bit
// floats, and to bool as "is not zero".
template <class To, class From>
inline To convert(From value) {
  if constexpr (std::is_same_v<To, From>) {
    return value;
  } else if constexpr (kIsFloat16<From>) {
    return convert<To>(static_cast<float>(value));
  } else if constexpr (std::is_same_v<To, bool>) {
    return value != From{};
  } else if constexpr (kIsFloat16<To>) {
    return To(static_cast<float>(value));
  } else {
    return static_cast<To>(value);
  }
}

template <class T>
struct TypeTag {
  using type = T;
};

// Calls `f(TypeTag<T>{})` with the C++ type of a real dtype; fails with InvalidType for complex
// and 8-bit float dtypes, naming `what`.
template <class F>
decltype(auto) visit_dtype(DType dtype, const char* what, F&& f) {
  switch (dtype) {
    case DType::UInt8:
      return f(TypeTag<uint8_t>{});
    case DType::Int8:
      return f(TypeTag<int8_t>{});
    case DType::Int16:
      return f(TypeTag<int16_t>{});
    case DType::Int32:
      return f(TypeTag<int32_t>{});
    case DType::Int64:
      return f(TypeTag<int64_t>{});
    case DType::Float16:
      return f(TypeTag<Float16>{});
    case DType::Float32:
      return f(TypeTag<float>{});
    case DType::Float64:
      return f(TypeTag<double>{});
    case DType::Bool:
      return f(TypeTag<bool>{});
    case DType::BFloat16:
      return f(TypeTag<BFloat16>{});
    case DType::UInt16:
      return f(TypeTag<uint16_t>{});
    case DType::UInt32:
      return f(TypeTag<uint32_t>{});
    case DType::UInt64:
      return f(TypeTag<uint64_t>{});
    default:
      fail(Status::InvalidType, what, ": dtype ", dtype_name(dtype), " is not supported");
  }
}

// The DType of a C++ element type.
template <class T>
constexpr DType dtype_of() {
  if constexpr (std::is_same_v<T, uint8_t>) return DType::UInt8;
  if constexpr (std::is_same_v<T, int8_t>) return DType::Int8;
  if constexpr (std::is_same_v<T, int16_t>) return DType::Int16;
  if constexpr (std::is_same_v<T, int32_t>) return DType::Int32;
  if constexpr (std::is_same_v<T, int64_t>) return DType::Int64;
  if constexpr (std::is_same_v<T, Float16>) return DType::Float16;
  if constexpr (std::is_same_v<T, float>) return DType::Float32;
  if constexpr (std::is_same_v<T, double>) return DType::Float64;
  if constexpr (std::is_same_v<T, std::complex<float>>) return DType::ComplexFloat32;
  if constexpr (std::is_same_v<T, std::complex<double>>) return DType::ComplexFloat64;
  if constexpr (std::is_same_v<T, bool>) return DType::Bool;
  if constexpr (std::is_same_v<T, BFloat16>) return DType::BFloat16;
  if constexpr (std::is_same_v<T, uint16_t>) return DType::UInt16;
  if constexpr (std::is_same_v<T, uint32_t>) return DType::UInt32;
  if constexpr (std::is_same_v<T, uint64_t>) return DType::UInt64;
}

}  // namespace aotiny
