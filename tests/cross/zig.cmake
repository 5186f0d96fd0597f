# Cross-compiles for LEAKYRELU_ZIG_TARGET with ziglang, PyPI's package of Clang with other systems' libraries, whose
# programs lie in LEAKYRELU_ZIG_BIN (see run).
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES LEAKYRELU_ZIG_TARGET LEAKYRELU_ZIG_BIN)

if(LEAKYRELU_ZIG_TARGET MATCHES "macos")
  set(CMAKE_SYSTEM_NAME Darwin)
elseif(LEAKYRELU_ZIG_TARGET MATCHES "windows")
  set(CMAKE_SYSTEM_NAME Windows)
else()
  set(CMAKE_SYSTEM_NAME Linux)
endif()
string(REGEX MATCH "^[^-]+" CMAKE_SYSTEM_PROCESSOR ${LEAKYRELU_ZIG_TARGET})

set(CMAKE_C_COMPILER ${LEAKYRELU_ZIG_BIN}/cc -target ${LEAKYRELU_ZIG_TARGET})
set(CMAKE_CXX_COMPILER ${LEAKYRELU_ZIG_BIN}/c++ -target ${LEAKYRELU_ZIG_TARGET})
set(CMAKE_AR ${LEAKYRELU_ZIG_BIN}/ar)
set(CMAKE_RANLIB ${LEAKYRELU_ZIG_BIN}/ranlib)
set(CMAKE_RC_COMPILER ${LEAKYRELU_ZIG_BIN}/rc)

# Clang 18 to 21 take 512 bits for an extension of its own, which Highway 1.0.3 does not ask for.
if(CMAKE_SYSTEM_PROCESSOR STREQUAL "x86_64")
  set(CMAKE_CXX_FLAGS_INIT -mevex512)
endif()
