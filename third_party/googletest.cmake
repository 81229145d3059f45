# Targets GTest::gtest and GTest::gtest_main.
find_package(GTest 1.12 QUIET)
if(NOT GTest_FOUND)
  message(STATUS "aotiny: googletest not found (Debian: libgtest-dev); fetching 1.15.2")
  include(FetchContent)
  set(INSTALL_GTEST OFF CACHE BOOL "" FORCE)
  FetchContent_Declare(googletest
    URL https://github.com/google/googletest/archive/refs/tags/v1.15.2.tar.gz
    URL_HASH SHA256=7b42b4d6ed48810c5362c265a17faebe90dc2373c885e5216439d37927f02926)
  FetchContent_MakeAvailable(googletest)
endif()
