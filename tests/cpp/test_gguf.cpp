// Blocks by hand, and files that cannot be read. gguf's own dequantizer is the oracle in Python.
#include "aotiny/quant/gguf.h"

#include <unistd.h>

#include <cstdio>

#include "quant_testing.h"

namespace aotiny {
namespace {

using namespace aotiny::testing;

constexpr uint8_t kTwo[] = {0x00, 0x40}, kMinusHalf[] = {0x00, 0xb8};  // in fp16

void put(std::vector<uint8_t>& blocks, const uint8_t (&half)[2]) {
  blocks.insert(blocks.end(), half, half + 2);
}

std::vector<float> values_of(const char* type, const std::vector<uint8_t>& blocks,
                             std::vector<int64_t> shape) {
  return floats_of(import_gguf(find_gguf_type(type), blocks, shape).dequantize());
}

TEST(Gguf, Q4_0) {
  std::vector<uint8_t> blocks;
  put(blocks, kMinusHalf);
  for (int j = 0; j < 16; ++j) blocks.push_back(static_cast<uint8_t>(j | (15 - j) << 4));
  const std::vector<float> values = values_of("Q4_0", blocks, {1, 32});
  for (size_t j = 0; j < 16; ++j) {
    EXPECT_EQ(values[j], -0.5f * (static_cast<float>(j) - 8)) << j;
    EXPECT_EQ(values[16 + j], -0.5f * (7 - static_cast<float>(j))) << j;
  }
}

TEST(Gguf, Q8_0) {
  std::vector<uint8_t> blocks;
  put(blocks, kTwo);
  for (int j = 0; j < 32; ++j) blocks.push_back(static_cast<uint8_t>(8 * j - 128));
  const std::vector<float> values = values_of("Q8_0", blocks, {1, 32});
  for (size_t j = 0; j < 32; ++j) EXPECT_EQ(values[j], 16.0f * static_cast<float>(j) - 256) << j;
}

// Scale g is 32·(g mod 2) + g, min g is 63 − scale g.
void put_scales(std::vector<uint8_t>& blocks) {
  const auto scale = [](int g) { return 32 * (g % 2) + g; };
  for (int g = 0; g < 4; ++g) {
    blocks.push_back(static_cast<uint8_t>(scale(g) | scale(g + 4) >> 4 << 6));
  }
  for (int g = 0; g < 4; ++g) {
    blocks.push_back(static_cast<uint8_t>((63 - scale(g)) | (63 - scale(g + 4)) >> 4 << 6));
  }
  for (int g = 4; g < 8; ++g) {
    blocks.push_back(static_cast<uint8_t>((scale(g) & 15) | ((63 - scale(g)) & 15) << 4));
  }
}

float scaled(float q, size_t k) {
  const auto scale = static_cast<float>(32 * (k / 32 % 2) + k / 32);
  return 2 * q * scale + 0.5f * (63 - scale);
}

TEST(Gguf, Q4_K) {
  std::vector<uint8_t> blocks;
  put(blocks, kTwo);
  put(blocks, kMinusHalf);
  put_scales(blocks);
  for (int j = 0; j < 128; ++j) {
    blocks.push_back(static_cast<uint8_t>(j % 16 | (15 - j % 16) << 4));
  }
  const std::vector<float> values = values_of("Q4_K", blocks, {1, 256});
  for (size_t k = 0; k < 256; ++k) {
    const auto q = static_cast<float>(k / 32 % 2 == 0 ? k % 16 : 15 - k % 16);
    EXPECT_EQ(values[k], scaled(q, k)) << k;
  }
}

TEST(Gguf, Q5_K) {
  std::vector<uint8_t> blocks;
  put(blocks, kTwo);
  put(blocks, kMinusHalf);
  put_scales(blocks);
  for (int j = 0; j < 32; ++j) blocks.push_back(static_cast<uint8_t>(37 * j + 11));
  for (int j = 0; j < 128; ++j) {
    blocks.push_back(static_cast<uint8_t>(j % 16 | (15 - j % 16) << 4));
  }
  const std::vector<float> values = values_of("Q5_K", blocks, {1, 256});
  for (size_t k = 0; k < 256; ++k) {
    const size_t low = k / 32 % 2 == 0 ? k % 16 : 15 - k % 16;
    const size_t high = (37 * (k % 32) + 11) >> (k / 32) & 1;
    EXPECT_EQ(values[k], scaled(static_cast<float>(low + 16 * high), k)) << k;
  }
}

TEST(Gguf, Q6_K) {
  std::vector<uint8_t> blocks;
  for (int j = 0; j < 128; ++j) {
    blocks.push_back(static_cast<uint8_t>(j % 16 | (15 - j % 16) << 4));
  }
  for (int j = 0; j < 64; ++j) blocks.push_back(static_cast<uint8_t>(37 * j + 11));
  for (int g = 0; g < 16; ++g) blocks.push_back(static_cast<uint8_t>(17 * g - 128));
  put(blocks, kTwo);
  const std::vector<float> values = values_of("Q6_K", blocks, {1, 256});
  for (int k = 0; k < 256; ++k) {
    const int run = k % 128 / 32;  // 4 of 32 weights in each half
    const int low = run < 2 ? k % 16 : 15 - k % 16;
    const int high = ((37 * (k / 128 * 32 + k % 32) + 11) & 255) >> (2 * run) & 3;
    const int scale = 17 * (k / 16) - 128;
    EXPECT_EQ(values[static_cast<size_t>(k)],
              static_cast<float>(2 * (low + 16 * high - 32) * scale))
        << k;
  }
}

class GgufFile : public ::testing::Test {
 protected:
  GgufFile() : file_(std::tmpfile()) {
    std::vector<uint8_t> blocks(7 + 40 * 18, 0x5a);
    EXPECT_EQ(::write(::fileno(file_), blocks.data(), blocks.size()),
              static_cast<ssize_t>(blocks.size()));
  }
  ~GgufFile() override { std::fclose(file_); }

  std::FILE* file_;
  const GgufType& type_ = find_gguf_type("Q4_0");
};

TEST_F(GgufFile, IsReadFromAnyOffset) {
  const Weight weight = read_gguf(type_, ::fileno(file_), 7, std::vector<int64_t>{5, 2, 128});
  const std::vector<uint8_t> blocks(40 * 18, 0x5a);
  EXPECT_TRUE(weight == import_gguf(type_, blocks, std::vector<int64_t>{5, 2, 128}));
  EXPECT_TRUE(weight.is_stack());
}

TEST_F(GgufFile, RefusesWhatIsNotThere) {
  const auto error = [&](int file, int64_t offset, std::vector<int64_t> shape) {
    return error_of([&] { (void)read_gguf(type_, file, offset, shape); });
  };
  const int file = ::fileno(file_);
  EXPECT_EQ(error(file, 8, {10, 128}).status(), Status::InvalidArgument);
  EXPECT_STREQ(error(file, 8, {10, 128}).what(),
               "Q4_0: 720 bytes at offset 8 reach beyond the file's 727");
  EXPECT_EQ(error(file, -1, {1, 32}).status(), Status::InvalidArgument);
  EXPECT_EQ(error(file, INT64_MAX, {1, 32}).status(), Status::InvalidArgument);
  EXPECT_EQ(error(file, 0, {int64_t{1} << 40, 32}).status(), Status::InvalidArgument);
  EXPECT_EQ(error(file, 0, {int64_t{1} << 58, 32}).status(), Status::InvalidArgument);
  EXPECT_EQ(error(file, 0, {int64_t{1} << 62, 1 << 30}).status(), Status::InvalidArgument);
  EXPECT_EQ(error(-1, 0, {1, 32}).status(), Status::AccessFailed);
  const Error unknown = error_of([] { (void)find_gguf_type("IQ4_XS"); });
  EXPECT_EQ(unknown.status(), Status::NotSupported);
}

// Of several blocks that are bad, on whichever threads, the first is told.
TEST(Gguf, TellsTheFirstScaleThatIsNotFinite) {
  std::vector<uint8_t> blocks(34 * 100000);
  for (const size_t bad : {99999u, 70001u, 20003u}) blocks[34 * bad + 1] = 0x7e;
  const Error error = error_of([&] {
    (void)import_gguf(find_gguf_type("Q8_0"), blocks, std::vector<int64_t>{25000, 128});
  });
  EXPECT_EQ(error.status(), Status::InvalidArgument);
  EXPECT_STREQ(error.what(), "Q8_0: block 3 of row 5000 has a scale that is not finite");
}

}  // namespace
}  // namespace aotiny
