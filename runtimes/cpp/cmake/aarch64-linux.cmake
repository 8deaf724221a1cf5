# Debian's cross compiler, unpacked into EDGEKIT_CROSS (a folder with usr/bin/aarch64-linux-gnu-g++-*) by
# `edgekit arm setup`; without it the one that is installed.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(EDGEKIT_CROSS "$ENV{EDGEKIT_CROSS}" CACHE PATH "Where the cross compiler was unpacked; empty: it is installed")
if(EDGEKIT_CROSS)
  file(GLOB compilers "${EDGEKIT_CROSS}/usr/bin/aarch64-linux-gnu-g++-[0-9]*")
  list(GET compilers 0 CMAKE_CXX_COMPILER)
  file(GLOB c_compilers "${EDGEKIT_CROSS}/usr/bin/aarch64-linux-gnu-gcc-[0-9]*")
  list(GET c_compilers 0 CMAKE_C_COMPILER)
  set(CMAKE_SYSROOT "${EDGEKIT_CROSS}")
else()
  set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
  set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
endif()
# Programs are the host's, libraries never.
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE NEVER)
