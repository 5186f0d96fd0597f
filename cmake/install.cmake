# What `cmake --install` gives: headers, library, find_package(leakyrelu), pkg-config leakyrelu.
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

# The components are for packages (cmake/packages.cmake): runtime is the shared library, development all else.
set(CMAKE_INSTALL_DEFAULT_COMPONENT_NAME development)
install(TARGETS leakyrelu EXPORT leakyrelu
  RUNTIME COMPONENT runtime
  LIBRARY COMPONENT runtime NAMELINK_COMPONENT development)
install(DIRECTORY include/leakyrelu TYPE INCLUDE)

set(config_dir ${CMAKE_INSTALL_LIBDIR}/cmake/leakyrelu)
install(EXPORT leakyrelu NAMESPACE leakyrelu:: FILE leakyrelu-targets.cmake DESTINATION ${config_dir})
if(LEAKYRELU_TORCH)  # a component of its own, so that who wants the core alone needs no torch
  install(TARGETS leakyrelu_torch EXPORT leakyrelu-torch)
  install(EXPORT leakyrelu-torch NAMESPACE leakyrelu:: FILE leakyrelu-torch-targets.cmake DESTINATION ${config_dir})
endif()
if(LEAKYRELU_CUDA)  # likewise
  install(TARGETS leakyrelu_cuda EXPORT leakyrelu-cuda)
  install(EXPORT leakyrelu-cuda NAMESPACE leakyrelu:: FILE leakyrelu-cuda-targets.cmake DESTINATION ${config_dir})
endif()
configure_package_config_file(cmake/leakyrelu-config.cmake.in leakyrelu-config.cmake INSTALL_DESTINATION ${config_dir})
write_basic_package_version_file(leakyrelu-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES
  ${CMAKE_CURRENT_BINARY_DIR}/leakyrelu-config.cmake
  ${CMAKE_CURRENT_BINARY_DIR}/leakyrelu-config-version.cmake
  DESTINATION ${config_dir})

# A static library leaves its own dependencies to whoever links it; a shared one has them inside.
if(BUILD_SHARED_LIBS)
  set(pkgconfig_private "")
else()
  set(pkgconfig_private "Requires.private: libhwy\nLibs.private: -pthread -ldl -lstdc++ -lm")
endif()
file(RELATIVE_PATH pkgconfig_to_prefix /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
configure_file(cmake/leakyrelu.pc.in leakyrelu.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/leakyrelu.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
