// Where NVIDIA's libraries are looked for. Invented names: nothing of NVIDIA's is needed.
#include "aotiny/core/nvidia_libraries.h"

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "aotiny/core/status.h"

namespace aotiny {
namespace {

namespace fs = std::filesystem;

// A toolkit of its own for each test, named by CUDA_HOME.
class NvidiaLibraries : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string test = ::testing::UnitTest::GetInstance()->current_test_info()->name();
    home_ = fs::temp_directory_path() / ("aotiny_" + test + "_" + std::to_string(::getpid()));
    fs::create_directories(home_ / "lib64");
    ::setenv("CUDA_HOME", home_.c_str(), 1);
    ::unsetenv("CUDA_PATH");
  }
  void TearDown() override {
    ::unsetenv("CUDA_HOME");
    fs::remove_all(home_);
  }

  static NvidiaLibrary library(const std::string& stem, int major = 13) {
    return {.purpose = "nothing works",
            .what = "the invention",
            .stem = stem,
            .package = "nvidia-invention",
            .folder = "invention",
            .major = major};
  }
  static std::string failure(const NvidiaLibrary& library) {
    try {
      open_nvidia_library(library);
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), Status::NotFound);
      return error.what();
    }
    ADD_FAILURE() << "it was found";
    return "";
  }
  // A real shared library under an invented name.
  void install(const std::string& file) const {
    void* real = dlopen("libgcc_s.so.1", RTLD_NOW);
    ASSERT_NE(real, nullptr);
    Dl_info info{};
    ASSERT_NE(dladdr(dlsym(real, "_Unwind_Backtrace"), &info), 0);
    fs::copy_file(info.dli_fname, home_ / "lib64" / file);
  }

  fs::path home_;
};

TEST_F(NvidiaLibraries, WhatIsMissingIsNamedWithEveryPlace) {
  ::setenv("CUDA_PATH", "/no/such/toolkit", 1);
  const std::string text = failure(library("aotiny_a"));
  ::unsetenv("CUDA_PATH");
  EXPECT_TRUE(text.starts_with("nothing works: the invention libaotiny_a.so.13 was not found"))
      << text;
  for (const std::string& part :
       {std::string("package nvidia-invention)"), std::string("the linker's path, "),
        std::string("nvidia/cu13/lib"), std::string("nvidia/invention/lib"),
        (home_ / "lib64").string(), std::string("/no/such/toolkit/lib64"),
        std::string("/usr/local/cuda/lib64")}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << " in " << text;
  }
  EXPECT_EQ(text.find("did not load"), std::string::npos) << text;
}

TEST_F(NvidiaLibraries, PackagesOfCuda12HaveASuffix) {
  const std::string text = failure(library("aotiny_b", 12));
  EXPECT_NE(text.find("libaotiny_b.so.12 "), std::string::npos) << text;
  EXPECT_NE(text.find("nvidia-invention-cu12)"), std::string::npos) << text;
}

TEST_F(NvidiaLibraries, AFileThatCannotBeLoadedIsReported) {
  std::ofstream(home_ / "lib64/libaotiny_c.so.13") << "no library";
  const std::string text = failure(library("aotiny_c"));
  EXPECT_NE(text.find("lib64 (which did not load it: "), std::string::npos) << text;
}

TEST_F(NvidiaLibraries, TheToolkitsFolderIsFound) {
  install("libaotiny_d.so.13");
  void* opened = open_nvidia_library(library("aotiny_d"));
  ASSERT_NE(opened, nullptr);
  EXPECT_NE(dlsym(opened, "_Unwind_Backtrace"), nullptr);
}

TEST_F(NvidiaLibraries, WhatItNeedsIsOpenedFirst) {
  install("libaotiny_e.so.13");
  install("libaotiny_f.so.13");
  NvidiaLibrary wanted = library("aotiny_e");
  wanted.needs = "aotiny_f";
  ASSERT_NE(open_nvidia_library(wanted), nullptr);
  const fs::path needed = home_ / "lib64/libaotiny_f.so.13";
  EXPECT_NE(dlopen(needed.c_str(), RTLD_NOW | RTLD_NOLOAD), nullptr);
}

TEST_F(NvidiaLibraries, WhatIsLoadedAlreadyIsTaken) {
  void* loaded = dlopen("libgcc_s.so.1", RTLD_NOW);
  ASSERT_NE(loaded, nullptr);
  EXPECT_EQ(open_nvidia_library(library("gcc_s", 1)), loaded);
}

}  // namespace
}  // namespace aotiny
