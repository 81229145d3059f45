# Installs the library, its headers, the CMake package and a pkg-config file. In a wheel all of it
# lies inside the Python package, which is then the install prefix.
include(CMakePackageConfigHelpers)

if(SKBUILD)
  set(CMAKE_INSTALL_LIBDIR lib)
  # scipy_openblas32 lies beside aotiny in site-packages.
  set_target_properties(aotiny PROPERTIES
    INSTALL_RPATH "$ORIGIN;$ORIGIN/../../scipy_openblas32/lib")
else()
  set_target_properties(aotiny PROPERTIES INSTALL_RPATH "$ORIGIN")
endif()

install(TARGETS aotiny EXPORT aotinyTargets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} NAMELINK_SKIP)
if(SKBUILD AND AOTINY_SLEEF_FILE)
  # Carried in the wheel, under its soname, so that it works where Sleef is not installed.
  execute_process(COMMAND ${CMAKE_OBJDUMP} -p ${AOTINY_SLEEF_FILE} OUTPUT_VARIABLE sleef_headers
    COMMAND_ERROR_IS_FATAL ANY)
  string(REGEX MATCH "SONAME +([^\n ]+)" _ "${sleef_headers}")
  install(FILES ${AOTINY_SLEEF_FILE} DESTINATION ${CMAKE_INSTALL_LIBDIR} RENAME ${CMAKE_MATCH_1})
endif()
install(DIRECTORY cpp/aotiny DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
  FILES_MATCHING PATTERN "*.h" PATTERN "*.def")
install(EXPORT aotinyTargets NAMESPACE aotiny:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/aotiny)
configure_package_config_file(cmake/aotinyConfig.cmake.in
  ${PROJECT_BINARY_DIR}/aotinyConfig.cmake
  INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/aotiny)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/aotinyConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/aotinyConfig.cmake ${PROJECT_BINARY_DIR}/aotinyConfigVersion.cmake
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/aotiny)
configure_file(cmake/aotiny.pc.in ${PROJECT_BINARY_DIR}/aotiny.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/aotiny.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
