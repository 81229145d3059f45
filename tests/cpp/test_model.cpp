// Real packages through the C API: loaded, run, refused and freed, also by several threads. A
// sanitizer's build finds what these leave behind or touch wrongly.
//
// AOTINY_TEST_PACKAGES names a folder that `python tests/python/models.py FOLDER` filled; without
// it these tests are skipped.
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "aotiny/abi/aotiny.h"
#include "aotiny/core/status.h"
#include "shim_test.h"

namespace aotiny {
namespace {

class LoadedModel {
 public:
  explicit LoadedModel(const std::string& path, int64_t num_models = 1) {
    EXPECT_EQ(aotiny_model_load(path.c_str(), "cpu", num_models, nullptr, &model_), kOk)
        << aotiny_last_error();
  }
  LoadedModel(const LoadedModel&) = delete;
  LoadedModel& operator=(const LoadedModel&) = delete;
  ~LoadedModel() { aotiny_model_free(model_); }
  operator AotinyModel*() const { return model_; }

 private:
  AotinyModel* model_ = nullptr;
};

Tensor rows_of(int64_t rows, float value) {
  return tensor_of<float>({rows, 16}, std::vector<float>(static_cast<size_t>(rows) * 16, value));
}

int32_t run_one(AotinyModel* model, AtenTensorHandle input, AtenTensorHandle* ret) {
  return aotiny_model_run(model, &input, 1, ret, 1);
}

// x * scale + (0, 1, ..., 15)
void expect_affine(AotinyModel* model, int64_t rows, float value, float scale) {
  Handle output;
  ASSERT_EQ(run_one(model, Handle(rows_of(rows, value)), output.out()), kOk) << aotiny_last_error();
  const auto found = values_of<float>(output.tensor());
  ASSERT_EQ(found.size(), static_cast<size_t>(rows) * 16);
  for (size_t i = 0; i < found.size(); ++i) {
    ASSERT_FLOAT_EQ(found[i], value * scale + static_cast<float>(i % 16)) << i;
  }
}

void expect_run_refused(AotinyModel* model, Tensor input, Status status, const std::string& text) {
  const Handle handle(std::move(input));
  expect_refused_with_null(status, text,
                           [&](AtenTensorHandle* ret) { return run_one(model, handle, ret); });
}

class ModelTest : public ShimTest {
 protected:
  void SetUp() override {
    const char* folder = std::getenv("AOTINY_TEST_PACKAGES");
    if (folder == nullptr) GTEST_SKIP() << "AOTINY_TEST_PACKAGES names no folder of packages";
    folder_ = folder;
    damaged_ = std::filesystem::temp_directory_path() /
               ("aotiny-test-model-" + std::to_string(::getpid()) + ".pt2");
    ShimTest::SetUp();
  }
  void TearDown() override {
    if (folder_.empty()) return;
    std::filesystem::remove(damaged_);
    ShimTest::TearDown();
  }

  std::string package(const std::string& name) const { return folder_ + "/" + name + ".pt2"; }
  std::string bytes_of(const std::string& name) const {
    std::ifstream file(package(name), std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  // Writes it to a file and tries to load that. A model that loads must run.
  int32_t try_to_load(const std::string& bytes) {
    std::ofstream(damaged_, std::ios::binary) << bytes;
    AotinyModel* model = nullptr;
    const int32_t code = aotiny_model_load(damaged_.c_str(), nullptr, 1, nullptr, &model);
    EXPECT_EQ(model != nullptr, code == kOk);
    char* json = nullptr;
    const bool inspected = aotiny_inspect(damaged_.c_str(), &json) == kOk;
    EXPECT_EQ(json != nullptr, inspected);
    aotiny_string_free(json);
    if (code != kOk) {
      EXPECT_STRNE(aotiny_last_error(), "");
      return code;
    }
    Handle output;
    EXPECT_EQ(run_one(model, Handle(rows_of(3, 1)), output.out()), kOk) << aotiny_last_error();
    aotiny_model_free(model);
    return code;
  }

 private:
  std::string folder_;
  std::filesystem::path damaged_;
};

TEST_F(ModelTest, LoadsRunsAndFrees) {
  for (int round = 0; round < 3; ++round) {
    for (const char* name : {"affine", "affine_described", "embedded", "other_affine"}) {
      LoadedModel model(package(name));
      expect_affine(model, 3, 1.5f, name[0] == 'o' ? -5 : 2);
    }
  }
}

TEST_F(ModelTest, OutputsMayBeInputsViewsRepeatedOrNone) {
  AtenTensorHandle outputs[5] = {};
  {
    LoadedModel model(package("aliases"));
    const Handle input(rows_of(3, 1));
    AtenTensorHandle inputs[1] = {input};
    ASSERT_EQ(aotiny_model_run(model, inputs, 1, outputs, 5), kOk) << aotiny_last_error();
  }  // the model and the input are gone
  EXPECT_EQ(outputs[4], nullptr);
  for (const AtenTensorHandle output : outputs) {
    if (output == nullptr) continue;
    const auto values = values_of<float>(*reinterpret_cast<Tensor*>(output));
    EXPECT_FLOAT_EQ(values.back(), output == outputs[0] || output == outputs[1] ? 1 : 2);
    EXPECT_EQ(aoti_torch_delete_tensor_object(output), kOk);
  }
}

TEST_F(ModelTest, BuffersChangeInPrivate) {
  const std::string before = bytes_of("counter");
  LoadedModel first(package("counter")), second(package("counter"));
  const Handle ones(tensor_of<float>({16}, std::vector<float>(16, 1)));
  for (int step = 1; step <= 5; ++step) {
    Handle output;
    ASSERT_EQ(run_one(first, ones, output.out()), kOk);
    EXPECT_EQ(values_of<float>(output.tensor())[7], static_cast<float>(step));
  }
  Handle output;
  ASSERT_EQ(run_one(second, ones, output.out()), kOk);
  EXPECT_EQ(values_of<float>(output.tensor())[7], 1.0f);
  EXPECT_EQ(bytes_of("counter"), before);
}

TEST_F(ModelTest, WhatCannotBeLoaded) {
  int poison = 0;
  const auto refuse = [&](const std::string& path, const char* device, int64_t num_models,
                          const char* name, Status status, const std::string& text) {
    auto* model = reinterpret_cast<AotinyModel*>(&poison);
    expect_refused(aotiny_model_load(path.c_str(), device, num_models, name, &model), status, text);
    EXPECT_EQ(model, nullptr);
  };
  const std::string good = package("affine");
  refuse("/nowhere.pt2", nullptr, 1, nullptr, Status::NotFound, "/nowhere.pt2");
  refuse("/", nullptr, 1, nullptr, Status::AccessFailed, "/");
  refuse(good, "tpu", 1, nullptr, Status::InvalidArgument, "tpu");
  refuse(good, nullptr, 0, nullptr, Status::InvalidArgument, "num_models");
  refuse(good, nullptr, 5000, nullptr, Status::InvalidArgument, "5000");
  refuse(good, nullptr, 1, "third", Status::NotFound, "third");
  refuse(package("custom"), nullptr, 1, nullptr, Status::OperatorMissing, "aoti_torch_cpu_triple");
  refuse(package("proxy"), nullptr, 1, nullptr, Status::OperatorMissing, "multinomial");
}

TEST_F(ModelTest, TruncatedPackages) {
  const std::string contents = bytes_of("affine_described");
  ASSERT_GT(contents.size(), 10000u);
  for (size_t part = 0; part < 64; ++part) {
    EXPECT_NE(try_to_load(contents.substr(0, contents.size() * part / 64)), kOk) << part;
  }
  for (size_t lost = 1; lost < 64; ++lost) {
    EXPECT_NE(try_to_load(contents.substr(0, contents.size() - lost)), kOk) << lost;
  }
}

// Every byte of the directory at the end, and some of the rest: refused, or of no consequence.
TEST_F(ModelTest, DamagedPackages) {
  const std::string contents = bytes_of("affine_described");
  const auto directory_size = static_cast<unsigned char>(contents[contents.size() - 10]) +
                              256u * static_cast<unsigned char>(contents[contents.size() - 9]) + 22;
  size_t refused = 0, tried = 0;
  const auto damage = [&](size_t at) {
    std::string copy = contents;
    copy[at] = static_cast<char>(~copy[at]);
    ++tried;
    refused += try_to_load(copy) != kOk;
  };
  for (size_t back = 1; back <= directory_size; ++back) damage(contents.size() - back);
  const size_t step = (contents.size() - directory_size) / 200;
  for (size_t at = 0; at < contents.size() - directory_size; at += step) damage(at);
  EXPECT_GT(refused, tried / 4);
}

TEST_F(ModelTest, InputsThatDoNotFit) {
  LoadedModel model(package("affine_described"));
  expect_run_refused(model, Tensor::empty(Ints{3, 16}, DType::Float64), Status::InvalidType,
                     "float64");
  expect_run_refused(model, Tensor::empty(Ints{16}, DType::Float32), Status::InvalidArgument,
                     "[16]");
  expect_run_refused(model, rows_of(0, 1), Status::InvalidArgument, "size 0");
  expect_run_refused(model, rows_of(65, 1), Status::InvalidArgument, "size 65");

  const Handle input(rows_of(2, 1));
  AtenTensorHandle inputs[2] = {input, nullptr};
  AtenTensorHandle outputs[2] = {input, input};
  for (const int64_t count : {0, 2}) {
    expect_refused(aotiny_model_run(model, inputs, count, outputs, 1), Status::InvalidArgument, "");
    EXPECT_EQ(outputs[0], nullptr);
  }
  expect_refused(aotiny_model_run(model, inputs + 1, 1, outputs, 1), Status::InvalidArgument, "");
  expect_refused(aotiny_model_run(model, inputs, 1, outputs, 2), Status::InvalidArgument, "2");
  expect_refused(aotiny_model_run(model, nullptr, 1, outputs, 1), Status::InvalidArgument, "null");
  expect_refused(aotiny_model_run(nullptr, inputs, 1, outputs, 1), Status::InvalidArgument, "null");
  expect_affine(model, 2, 1, 2);
}

TEST_F(ModelTest, IndicesOutOfRange) {
  const auto indices = [](int64_t last) { return tensor_of<int64_t>({3}, {1, 2, last}); };
  LoadedModel unchecked(package("lookup")), checked(package("lookup_described"));
  for (const int64_t bad : {int64_t{10}, int64_t{-11}, INT64_MAX, INT64_MIN}) {
    // A run that fails inside the code, and one that does not begin.
    expect_run_refused(unchecked, indices(bad), Status::InvalidArgument, "index out of bounds");
    expect_run_refused(checked, indices(bad), Status::InvalidArgument, "-10..9");
  }
  for (AotinyModel* model :
       {static_cast<AotinyModel*>(unchecked), static_cast<AotinyModel*>(checked)}) {
    Handle output;
    ASSERT_EQ(run_one(model, Handle(indices(-1)), output.out()), kOk) << aotiny_last_error();
    EXPECT_EQ(values_of<float>(output.tensor())[8], 36.0f);
  }
}

// --- threads --------------------------------------------------------------------------------

template <class Work>
void in_threads(int count, Work&& work) {
  std::vector<std::thread> threads;
  for (int t = 0; t < count; ++t) threads.emplace_back(work, t);
  for (std::thread& thread : threads) thread.join();
}

TEST_F(ModelTest, ThreadsShareAModel) {
  for (const char* name : {"affine", "affine_described"}) {
    for (const int64_t num_models : {1, 3}) {
      LoadedModel model(package(name), num_models);
      in_threads(4, [&](int t) {
        for (int i = 0; i < 25; ++i) {
          expect_affine(model, i % 7 + 1, static_cast<float>(t), 2);
          expect_refused_with_null(Status::InvalidArgument, "1 inputs", [&](AtenTensorHandle* ret) {
            return aotiny_model_run(model, nullptr, 0, ret, 1);
          });
        }
      });
    }
  }
}

TEST_F(ModelTest, RunsThatFailInOneThreadLeaveTheOthersAlone) {
  LoadedModel model(package("lookup"), 3);
  in_threads(4, [&](int t) {
    for (int i = 0; i < 25; ++i) {
      Handle output;
      const int64_t last = t % 2 == 0 ? 9 : 10 + t;
      const int32_t code =
          run_one(model, Handle(tensor_of<int64_t>({3}, {1, 2, last})), output.out());
      EXPECT_EQ(code == kOk, last == 9) << aotiny_last_error();
    }
  });
}

TEST_F(ModelTest, ThreadsLoadAndFreeTheirOwn) {
  in_threads(4, [&](int t) {
    for (int i = 0; i < 6; ++i) {
      const bool other = (i + t) % 2 != 0;
      LoadedModel model(package(other ? "other_affine" : "affine_described"));
      expect_affine(model, 3, static_cast<float>(t), other ? -5 : 2);
      LoadedModel lookup(package("lookup"));
      Handle output;  // leaves a message in the model's thread-local storage
      EXPECT_NE(run_one(lookup, Handle(tensor_of<int64_t>({3}, {1, 2, 99})), output.out()), kOk);
    }
  });
}

// A model may go while threads that ran it live on, and threads may go while it lives on.
TEST_F(ModelTest, ThreadsAndModelsEndInAnyOrder) {
  for (const bool model_first : {true, false}) {
    auto model = std::make_unique<LoadedModel>(package("lookup"));
    std::atomic<bool> ran{false}, leave{false};
    std::thread thread([&] {
      expect_run_refused(*model, tensor_of<int64_t>({3}, {1, 2, 99}), Status::InvalidArgument,
                         "bounds");
      ran = true;
      while (!leave) std::this_thread::yield();
    });
    while (!ran) std::this_thread::yield();
    if (model_first) model.reset();
    leave = true;
    thread.join();
    if (!model_first) {
      Handle output;
      EXPECT_EQ(run_one(*model, Handle(tensor_of<int64_t>({3}, {0, 1, 2})), output.out()), kOk);
    }
  }
}

}  // namespace
}  // namespace aotiny
