// NVIDIA's libraries, which its Python packages and toolkits install where the linker does not
// look.
#pragma once

#include <string>

namespace aotiny {

struct NvidiaLibrary {
  const char* purpose;  // what is not possible without it, as the beginning of a sentence
  const char* what;     // "the CUDA runtime"
  std::string stem;     // "cudart"; with CUDA 13 the file is libcudart.so.13
  std::string package;  // "nvidia-cuda-runtime", NVIDIA's Python package that has it
  std::string folder;   // "cuda_runtime", where the packages of CUDA 12 put it under nvidia/
  int major;            // of CUDA
  // A library that it needs from the same folder, by its stem; "" for none.
  std::string needs = {};

  std::string file() const { return "lib" + stem + ".so." + std::to_string(major); }
};

// Opens it; dlopen's handle, which stays open. The first of these is taken: a library of this name
// that is loaded already, the linker's path, the Python packages beside the aotiny package,
// $CUDA_HOME/lib64, $CUDA_PATH/lib64, /usr/local/cuda/lib64. Fails with NotFound and a sentence
// that says what was looked for, where, and which package has it.
void* open_nvidia_library(const NvidiaLibrary& library);

}  // namespace aotiny
