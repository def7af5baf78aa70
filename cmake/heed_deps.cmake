# Finds the ggml and llama.cpp that scripts/bootstrap built. The path is a function of the pinned
# version, the flags, this processor and the compiler of the environment; the script knows, so it is
# asked. Without the prefix heed_core and its tests still configure: they need nothing of it.
set(HEED_DEPS "" CACHE PATH "Prefix with ggml and llama.cpp; empty: ask scripts/bootstrap")
set(HEED_DEPS_ISA "native" CACHE STRING "Instructions that ggml may use: native, avx2 or portable")
set_property(CACHE HEED_DEPS_ISA PROPERTY STRINGS native avx2 portable)
set(HEED_HAVE_LLM OFF)
find_package(Python3 COMPONENTS Interpreter QUIET)

set(deps "${HEED_DEPS}")
if(NOT deps AND Python3_Interpreter_FOUND)
  execute_process(
    COMMAND "${CMAKE_COMMAND}" -E env ${heed_env_compilers}
      "${Python3_EXECUTABLE}" "${PROJECT_SOURCE_DIR}/scripts/bootstrap" --print-deps
      --isa "${HEED_DEPS_ISA}"
    OUTPUT_VARIABLE deps OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
endif()

find_package(CLI11 QUIET)
find_package(nlohmann_json QUIET)
find_package(fmt QUIET)
if(HEED_STATIC)
  set(CMAKE_FIND_LIBRARY_SUFFIXES "${CMAKE_STATIC_LIBRARY_SUFFIX}")
endif()
find_package(ZLIB QUIET)
# Debian has no libfmt.a.
set(heed_fmt "$<IF:$<BOOL:${HEED_STATIC}>,fmt::fmt-header-only,fmt::fmt>")
set(missing "")
if(NOT EXISTS "${deps}/complete")
  list(APPEND missing "ggml and llama.cpp (run scripts/bootstrap --isa ${HEED_DEPS_ISA})")
endif()
foreach(package IN ITEMS CLI11 nlohmann_json fmt ZLIB)
  if(NOT ${package}_FOUND)
    list(APPEND missing "${package}")
  endif()
endforeach()

if(missing)
  list(JOIN missing ", " missing)
  message(NOTICE "heed: only heed_core and its tests are configured; missing: ${missing}")
  return()
endif()

set(HEED_HAVE_LLM ON)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS
  "${PROJECT_SOURCE_DIR}/scripts/bootstrap" "${PROJECT_SOURCE_DIR}/cmake/deps/CMakeLists.txt"
  "${PROJECT_SOURCE_DIR}/cmake/deps/waits_yield.cmake"
  "${PROJECT_SOURCE_DIR}/scripts/ggml_variants.py")
message(STATUS "heed: ggml and llama.cpp from ${deps}")

function(heed_import name)
  add_library(${name} STATIC IMPORTED GLOBAL)
  set_target_properties(${name} PROPERTIES
    IMPORTED_LOCATION "${deps}/lib/lib${name}.a"
    INTERFACE_INCLUDE_DIRECTORIES "${deps}/include")
  target_link_libraries(${name} INTERFACE ${ARGN})
endfunction()
heed_import(ggml-base Threads::Threads m)
heed_import(ggml-cpu ggml-base)
heed_import(ggml ggml-cpu ggml-base ${CMAKE_DL_LIBS})
heed_import(llama ggml)
heed_import(heed-llama-common llama)
# Headers of llama.cpp's common code include each other without a folder.
set_property(TARGET heed-llama-common APPEND PROPERTY
  INTERFACE_INCLUDE_DIRECTORIES "${deps}/include/common")
