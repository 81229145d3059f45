# Target sleef::sleef, a shared library: models resolve Sleef_* names in it through libaotiny's
# dependency, so it must be shared and must keep its dispatching entry points.
find_path(SLEEF_INCLUDE_DIR sleef.h)
find_library(SLEEF_LIBRARY sleef)
if(SLEEF_INCLUDE_DIR AND SLEEF_LIBRARY)
  add_library(sleef::sleef SHARED IMPORTED)
  set_target_properties(sleef::sleef PROPERTIES IMPORTED_LOCATION "${SLEEF_LIBRARY}"
    INTERFACE_INCLUDE_DIRECTORIES "${SLEEF_INCLUDE_DIR}")
  get_filename_component(AOTINY_SLEEF_FILE "${SLEEF_LIBRARY}" REALPATH)
  message(STATUS "aotiny: Sleef found: ${AOTINY_SLEEF_FILE}")
else()
  message(STATUS "aotiny: Sleef not found (Debian: libsleef-dev); fetching 3.9.0")
  include(FetchContent)
  set(SLEEF_BUILD_SHARED_LIBS ON CACHE BOOL "" FORCE)
  set(SLEEF_BUILD_TESTS OFF CACHE BOOL "" FORCE)
  set(SLEEF_BUILD_DFT OFF CACHE BOOL "" FORCE)
  set(SLEEF_BUILD_QUAD OFF CACHE BOOL "" FORCE)
  set(SLEEF_ENABLE_TLFLOAT OFF CACHE BOOL "" FORCE)
  FetchContent_Declare(sleef
    URL https://github.com/shibatch/sleef/archive/refs/tags/3.9.0.tar.gz
    URL_HASH SHA256=af60856abac08a3b5e72a8d156dd71fec1f7ac23de8ee67793f45f9edcdf0908)
  FetchContent_MakeAvailable(sleef)
  add_library(sleef::sleef ALIAS sleef)
  set(AOTINY_SLEEF_FILE "")
endif()
