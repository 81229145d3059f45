#include "aotiny/runtime/manifest.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <numeric>
#include <sstream>

#include "aotiny/runtime/inputs.h"
#include "aotiny/runtime/requirements.h"

namespace aotiny {
namespace {

using Ints = std::vector<int64_t>;

const char* const kText = R"({
  "format": "aotiny-manifest", "version": 1, "unknown": {"ignored": []},
  "cpu": {"march": "x86-64-v3", "features": ["avx2", "fma"]},
  "inputs": [
    {"name": "ids", "dtype": "int64", "device": "cpu", "range": [0, 9],
     "shape": [{"name": "batch", "min": 1, "max": 4}, {"name": "seq", "min": 2, "multiple_of": 2}]},
    {"name": "x", "dtype": "float32", "shape": [{"name": "batch", "min": 1, "max": null}, 3]},
    {"name": "t", "dtype": "float32", "shape": [2, 3], "strides": [1, 2]}],
  "outputs": [{"name": "y", "dtype": "bfloat16", "shape": []}],
  "constants": [{"name": "w", "fqn": "l.w", "dtype": "int8", "shape": [2, 3], "strides": [3, 1],
                 "mutable": true}],
  "quantization": null})";

std::string text(Dims dims) {
  std::ostringstream out;
  out << dims;
  return out.str();
}

std::string refusal(const std::string& text) {
  try {
    parse_manifest(text, "a.pt2");
    return "";
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), Status::InvalidProgram);
    return error.what();
  }
}

std::string replaced(const std::string& from, const std::string& to) {
  std::string text = kText;
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

TEST(Manifest, IsReadWhole) {
  const Manifest manifest = parse_manifest(kText, "a.pt2");
  EXPECT_EQ(manifest.cpu_features, (std::vector<std::string>{"avx2", "fma"}));
  ASSERT_EQ(manifest.inputs.size(), 3u);
  EXPECT_EQ(text(Dims{manifest.inputs[0].shape}), "[batch (1..4), seq (2.., a multiple of 2)]");
  EXPECT_EQ(text(Dims{manifest.inputs[1].shape}), "[batch (1..), 3]");
  EXPECT_EQ(manifest.inputs[0].range, (std::pair<int64_t, int64_t>{0, 9}));
  EXPECT_EQ(manifest.inputs[2].strides, (Ints{1, 2}));
  EXPECT_EQ(manifest.outputs[0].dtype, DType::BFloat16);
  EXPECT_TRUE(manifest.constants[0].is_mutable);
  EXPECT_EQ(manifest.constants[0].fqn, "l.w");
}

TEST(Manifest, RefusalsSayWhere) {
  const std::vector<std::array<const char*, 3>> cases = {
      {"aotiny-manifest", "other", "format \"other\""},
      {"\"version\": 1", "\"version\": 2", "version 2"},
      {"\"int64\"", "\"int65\"", "inputs[0].dtype is \"int65\""},
      {"\"min\": 1, \"max\": 4", "\"min\": 5, \"max\": 4", "inputs[0].shape[0].max is 4, below 5"},
      {"\"min\": 2", "\"min\": -2", "inputs[0].shape[1].min is -2, below 0"},
      {"\"multiple_of\": 2", "\"multiple_of\": 0", "multiple_of is 0"},
      {"[0, 9]", "[9, 0]", "inputs[0].range is not [low, high]"},
      {"[0, 9]", "[0, 9, 10]", "inputs[0].range has 3 items"},
      {"[1, 2]", "[1]", "inputs[2].strides has 1 values for 2 dimensions"},
      {"[2, 3], \"strides\": [3, 1]", "[2], \"strides\": [3, 1]", "constants[0] has 2 strides"},
      {"\"mutable\": true", "\"mutable\": 1", "constants[0].mutable is not a boolean"},
      {"\"name\": \"w\", ", "", "constants[0] lacks \"name\""},
      {"\"outputs\"", "\"outs\"", "lacks \"outputs\""},
      {"[\"avx2\", \"fma\"]", "[1]", "cpu.features[0] is not a string"},
      {"\"cpu\", \"range\"", "\"tpu\", \"range\"", "inputs[0].device is no device"},
      {"[2, 3], \"strides\": [3, 1]", "[18446744073709551615, 3], \"strides\": [3, 1]",
       "too large"},
  };
  for (const auto& [from, to, text] : cases) {
    EXPECT_NE(refusal(replaced(from, to)).find(text), std::string::npos)
        << text << "\n"
        << refusal(replaced(from, to));
  }
  EXPECT_NE(refusal("{"), "");
  EXPECT_NE(refusal("[]"), "");
  EXPECT_NE(refusal(std::string(100000, '[')), "");
}

class Inputs : public testing::Test {
 protected:
  std::string refusal(const std::vector<Tensor>& inputs) {
    try {
      prepare_inputs(manifest_.inputs, inputs, "m", kCPU);
      return "";
    } catch (const Error& error) {
      return error.what();
    }
  }

  static Tensor ids(int64_t batch, int64_t seq, int64_t value = 1) {
    Tensor tensor = Tensor::empty(Ints{batch, seq}, DType::Int64);
    std::fill_n(tensor.data<int64_t>(), tensor.numel(), value);
    return tensor;
  }
  static Tensor floats(int64_t rows, int64_t columns) {
    Tensor tensor = Tensor::empty(Ints{rows, columns}, DType::Float32);
    std::iota(tensor.data<float>(), tensor.data<float>() + tensor.numel(), 0.0f);
    return tensor;
  }

  Manifest manifest_ = parse_manifest(kText, "a.pt2");
};

TEST_F(Inputs, FitAndAreMadeDense) {
  const Tensor wide = ids(2, 8);
  const Tensor strided = wide.slice(1, 0, 8, 2);
  const auto prepared =
      prepare_inputs(manifest_.inputs, std::vector{strided, floats(2, 3), floats(2, 3)}, "m", kCPU);
  EXPECT_TRUE(prepared[0].is_contiguous());
  EXPECT_EQ(prepared[2].strides()[0], 1);
  EXPECT_EQ(prepared[2].strides()[1], 2);
  EXPECT_EQ(prepared[2].data<float>()[1], 3.0f);  // element [1, 0]
  const Tensor dense = ids(1, 2);
  EXPECT_EQ(
      prepare_inputs(manifest_.inputs, std::vector{dense, floats(1, 3), floats(2, 3)}, "m", kCPU)[0]
          .raw_data(),
      dense.raw_data());
}

TEST_F(Inputs, RefusalsNameTheInputAndTheNumbers) {
  const Tensor x = floats(2, 3), t = floats(2, 3);
  const std::vector<std::pair<std::vector<Tensor>, const char*>> cases = {
      {{ids(2, 4), x}, "takes 3 inputs, got 2"},
      {{ids(2, 4).to(DType::Int32), x, t}, "input ids has dtype int32, it takes int64"},
      {{ids(2, 4).view(Ints{8}), x, t}, "input ids has shape [8], of 1 dimensions"},
      {{ids(5, 4), x, t}, "size 5 in dimension 0"},
      {{ids(2, 0), x, t}, "size 0 in dimension 1"},
      {{ids(2, 5), x, t}, "a multiple of 2"},
      {{ids(3, 4), x, t}, "batch is 2 in input x, of shape [2, 3], but 3 in input ids"},
      {{ids(2, 4), floats(2, 4), t}, "size 4 in dimension 1"},
      {{ids(2, 4, 10), x, t}, "values from 10 to 10; they must lie in 0..9"},
      {{ids(2, 4, -1), x, t}, "values from -1 to -1"},
      {{Tensor(), x, t}, "input ids is undefined"},
  };
  for (const auto& [inputs, text] : cases) {
    EXPECT_NE(refusal(inputs).find(text), std::string::npos) << text << "\n" << refusal(inputs);
  }
}

TEST(DerivedSizes, AgreeWithTheSizeTheyFollowFrom) {
  std::string text = kText;
  const std::string from = R"("inputs": [)";
  text.replace(text.find(from), from.size(),
               R"("inputs": [
    {"name": "n", "dtype": "float32", "shape": [{"name": "n", "min": 1, "max": 9}]},
    {"name": "odd", "dtype": "float32", "shape":
      [{"name": "2*n + 1", "min": 3, "max": 19, "of": "n", "multiple_of": 2, "offset": 1}]},
    {"name": "less", "dtype": "float32", "shape":
      [{"name": "n - 1", "min": 0, "of": "n", "offset": -1}]}], "rest": [)");
  const std::vector<TensorSpec> specs = parse_manifest(text, "a.pt2").inputs;
  const auto run = [&](int64_t n, int64_t odd, int64_t less) -> std::string {
    std::vector<Tensor> inputs;
    for (int64_t size : {n, odd, less}) {
      inputs.push_back(Tensor::empty(Ints{size}, DType::Float32));
    }
    try {
      prepare_inputs(specs, inputs, "m", kCPU);
      return "";
    } catch (const Error& error) {
      return error.what();
    }
  };
  EXPECT_EQ(run(4, 9, 3), "");
  EXPECT_EQ(run(1, 3, 0), "");
  EXPECT_NE(run(4, 11, 3).find("n is 5 in input odd, of shape [11], but 4 in input n"),
            std::string::npos);
  EXPECT_NE(run(4, 10, 3).find("a multiple of 2 plus 1"), std::string::npos);
  EXPECT_NE(run(4, 9, 4).find("n is 5 in input less"), std::string::npos);
}

TEST(Requirements, IsaNamesAreProcessorFlags) {
  EXPECT_EQ(
      features_of_isa("AVX512 AVX512_VNNI"),
      (std::vector<std::string>{"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni"}));
  EXPECT_TRUE(features_of_isa("INVALID_VEC_ISA").empty());
  EXPECT_FALSE(this_machine().cpu_features.empty());
}

}  // namespace
}  // namespace aotiny
