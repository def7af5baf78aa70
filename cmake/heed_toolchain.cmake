# Flags every heed target shares. Nothing here raises the instruction set above the baseline of the
# platform: only the per-ISA files in src/kernels may (heed_core.cmake), or the binary would not
# start on an older processor.
find_package(Threads REQUIRED)

add_library(heed_flags INTERFACE)
target_compile_options(heed_flags INTERFACE -Wall -Wextra)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION MATCHES "^12\\.")
  # gcc bug 105329: from C++20 on, gcc 12 sees copies of 2^63 bytes in short literal + std::string.
  target_compile_options(heed_flags INTERFACE -Wno-restrict)
endif()
if(HEED_WERROR)
  target_compile_options(heed_flags INTERFACE -Werror)
endif()
if(HEED_SANITIZE)
  target_compile_options(heed_flags INTERFACE
    -fsanitize=${HEED_SANITIZE} -fno-omit-frame-pointer -g)
  target_link_options(heed_flags INTERFACE -fsanitize=${HEED_SANITIZE})
  if(HEED_SANITIZE MATCHES "undefined")
    # A diagnostic that only prints would let a test pass.
    target_compile_options(heed_flags INTERFACE -fno-sanitize-recover=undefined)
  endif()
endif()

# Paths below the source folder count relative to it, so that a second clone finds what the first
# compiled. The wrapper's name is ccache: clang's tools know to look behind it.
find_program(HEED_CCACHE ccache)
if(HEED_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(launcher "${PROJECT_BINARY_DIR}/generated/ccache")
  configure_file("${PROJECT_SOURCE_DIR}/cmake/ccache.sh.in" "${launcher}" @ONLY
    FILE_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE)
  set(CMAKE_C_COMPILER_LAUNCHER "${launcher}")
  set(CMAKE_CXX_COMPILER_LAUNCHER "${launcher}")
endif()

# gcc 12 and clang 14 both know -fuse-ld=mold and -fuse-ld=lld; older ones fall through the check.
include(CheckCXXSourceCompiles)
foreach(linker IN ITEMS mold lld)
  if(NOT HEED_LINKER)
    set(CMAKE_REQUIRED_LINK_OPTIONS "-fuse-ld=${linker}")
    check_cxx_source_compiles("int main() { return 0; }" HEED_LINKS_WITH_${linker})
    unset(CMAKE_REQUIRED_LINK_OPTIONS)
    if(HEED_LINKS_WITH_${linker})
      set(HEED_LINKER "${linker}")
    endif()
  endif()
endforeach()
if(HEED_LINKER)
  add_link_options("-fuse-ld=${HEED_LINKER}")
endif()
