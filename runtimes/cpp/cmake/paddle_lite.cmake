# Paddle Lite's C++ library out of a release or a build of one's own (inference_lite_lib.*).
# What an earlier run found may be gone, or another release's.
unset(LITE_INCLUDE CACHE)
unset(LITE_LIBRARY CACHE)
find_path(LITE_INCLUDE paddle_api.h PATHS "${PADDLE_LITE_DIR}/cxx/include" "${PADDLE_LITE_DIR}/include" REQUIRED
          NO_DEFAULT_PATH NO_CMAKE_FIND_ROOT_PATH)
find_library(LITE_LIBRARY NAMES paddle_light_api_shared paddle_full_api_shared paddle_api_light_bundled
             PATHS "${PADDLE_LITE_DIR}/cxx/lib" "${PADDLE_LITE_DIR}/lib" REQUIRED NO_DEFAULT_PATH NO_CMAKE_FIND_ROOT_PATH)
if(NOT PADDLE_LITE_VERSION)
  # The library carries its version as a text of its own.
  file(STRINGS "${LITE_LIBRARY}" versions REGEX "^v[0-9]+\\.[0-9]+(\\.[0-9]+)?(-[a-z0-9.]+)?$")
  list(REMOVE_DUPLICATES versions)
  list(LENGTH versions count)
  if(NOT count EQUAL 1)
    message(FATAL_ERROR "The version of ${LITE_LIBRARY} cannot be told (${versions}): give -DPADDLE_LITE_VERSION, e.g. v2.13-rc")
  endif()
  set(PADDLE_LITE_VERSION "${versions}")
endif()
message(STATUS "Paddle Lite ${PADDLE_LITE_VERSION}: ${LITE_LIBRARY}")
target_sources(edgekit_core PRIVATE src/engine_lite.cpp)
set_source_files_properties(src/engine_lite.cpp PROPERTIES COMPILE_DEFINITIONS "PADDLE_LITE_VERSION=\"${PADDLE_LITE_VERSION}\"")
target_include_directories(edgekit_core SYSTEM PUBLIC ${LITE_INCLUDE})
target_link_libraries(edgekit_core PUBLIC ${LITE_LIBRARY})
