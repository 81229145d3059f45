# Sets AOTINY_WITH_CUDA, and enables the language CUDA if so.
set(AOTINY_CUDA AUTO CACHE STRING "Build the CUDA library: ON, OFF, or AUTO (if there is a toolkit)")
set_property(CACHE AOTINY_CUDA PROPERTY STRINGS AUTO ON OFF)
# sm_80 with its PTX, which later GPUs compile when they load it, and Hopper's own instructions.
set(AOTINY_CUDA_ARCHITECTURES "80;90a-real" CACHE STRING
  "GPU architectures, as CMAKE_CUDA_ARCHITECTURES has them")

set(AOTINY_WITH_CUDA OFF)
if(AOTINY_CUDA STREQUAL "AUTO" OR AOTINY_CUDA)
  set(CMAKE_CUDA_ARCHITECTURES ${AOTINY_CUDA_ARCHITECTURES})
  if(NOT DEFINED CMAKE_CUDA_COMPILER_LAUNCHER AND DEFINED CMAKE_CXX_COMPILER_LAUNCHER)
    set(CMAKE_CUDA_COMPILER_LAUNCHER ${CMAKE_CXX_COMPILER_LAUNCHER})
  endif()
  include(CheckLanguage)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    enable_language(CUDA)
    if(NOT DEFINED CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # CMake 3.25 does not know that nvcc has it
      set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
    endif()
    find_package(CUDAToolkit 12)
    if(CUDAToolkit_FOUND)
      set(AOTINY_WITH_CUDA ON)
    endif()
  endif()
  if(AOTINY_WITH_CUDA)
    message(STATUS "aotiny: with CUDA ${CUDAToolkit_VERSION}, for ${AOTINY_CUDA_ARCHITECTURES}")
  elseif(AOTINY_CUDA STREQUAL "AUTO")
    message(STATUS "aotiny: without CUDA: no toolkit of version 12 or later was found")
  else()
    message(FATAL_ERROR "aotiny: AOTINY_CUDA is ON, but no CUDA toolkit of version 12 or later was "
      "found: put nvcc on the PATH, or set CUDACXX")
  endif()
endif()
