# What `cmake --workflow --preset deb` makes in build/deb: two packages for the Debian or Ubuntu that this is, the shared
# library alone and what compiling against it takes. The environment variables DEBFULLNAME and DEBEMAIL say who builds them.
cmake_host_system_information(RESULT release QUERY DISTRIB_INFO)

# By Debian's rule the library's package has its SONAME's version in its name, so that two versions can be installed.
set(soversion ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
set(CPACK_DEBIAN_RUNTIME_PACKAGE_NAME libleakyrelu${soversion})
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_NAME libleakyrelu-dev)
# With the release in the version: see docs/cpp.md.
set(CPACK_DEBIAN_PACKAGE_RELEASE 1~${release_ID}${release_VERSION_ID})
set(deb_version ${PROJECT_VERSION}-${CPACK_DEBIAN_PACKAGE_RELEASE})

set(maintainer_name "The leakyrelu authors")
set(maintainer_email leakyrelu@localhost)
if(DEFINED ENV{DEBFULLNAME})
  set(maintainer_name $ENV{DEBFULLNAME})
endif()
if(DEFINED ENV{DEBEMAIL})
  set(maintainer_email $ENV{DEBEMAIL})
endif()
set(CPACK_DEBIAN_PACKAGE_MAINTAINER "${maintainer_name} <${maintainer_email}>")

set(CPACK_DEBIAN_RUNTIME_PACKAGE_SECTION libs)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_RUNTIME_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_DEPENDS "${CPACK_DEBIAN_RUNTIME_PACKAGE_NAME} (= ${deb_version})")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "LeakyReLU for C and C++ at the speed of memory")
set(description "Forward and backward, on arrays of any shape and strides, keeping one bit
per element for the backward instead of the whole input.")
set(CPACK_DEBIAN_RUNTIME_DESCRIPTION "${description}\n.\nThis package has the shared library.")
set(CPACK_DEBIAN_DEVELOPMENT_DESCRIPTION
  "${description}\n.\nThis package has the headers, and what CMake and pkg-config find it by.")

set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)  # says what a program that links the library shall depend on
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS_POLICY ">=")
set(control ${CMAKE_CURRENT_BINARY_DIR}/control)
file(CONFIGURE OUTPUT ${control}/triggers CONTENT "activate-noawait ldconfig\n")
set(CPACK_DEBIAN_RUNTIME_PACKAGE_CONTROL_EXTRA ${control}/triggers)

# In each package's folder in share/doc.
file(CONFIGURE OUTPUT ${control}/copyright CONTENT
"Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: leakyrelu

Files: *
Copyright: 2026 The leakyrelu authors
License: Apache-2.0
 On Debian systems the Apache License, Version 2.0, is in
 /usr/share/common-licenses/Apache-2.0.
")
string(TIMESTAMP date "%a, %d %b %Y %H:%M:%S +0000" UTC)
file(CONFIGURE OUTPUT ${control}/changelog CONTENT
"leakyrelu (${deb_version}) unstable; urgency=medium

  * Built from leakyrelu ${PROJECT_VERSION}; its CHANGELOG.md says what is new.

 -- ${CPACK_DEBIAN_PACKAGE_MAINTAINER}  ${date}
")
file(ARCHIVE_CREATE OUTPUT ${control}/changelog.Debian.gz PATHS ${control}/changelog
  FORMAT raw COMPRESSION GZip COMPRESSION_LEVEL 9)
foreach(component RUNTIME DEVELOPMENT)
  string(TOLOWER ${component} name)
  install(FILES ${control}/copyright ${control}/changelog.Debian.gz
    DESTINATION share/doc/${CPACK_DEBIAN_${component}_PACKAGE_NAME} COMPONENT ${name} EXCLUDE_FROM_ALL)
endforeach()

set(CPACK_COMPONENTS_ALL runtime development)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS  # whatever the umask
  OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
include(CPack)
