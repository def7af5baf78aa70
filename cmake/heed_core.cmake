# heed_core: base … policy. Plain C++20 and threads, no third-party library.
file(GLOB_RECURSE core_sources CONFIGURE_DEPENDS
  "${PROJECT_SOURCE_DIR}/src/base/*.cpp" "${PROJECT_SOURCE_DIR}/src/cpu/*.cpp"
  "${PROJECT_SOURCE_DIR}/src/kernels/*.cpp" "${PROJECT_SOURCE_DIR}/src/linear/*.cpp"
  "${PROJECT_SOURCE_DIR}/src/kv/*.cpp"
  "${PROJECT_SOURCE_DIR}/src/attention/*.cpp" "${PROJECT_SOURCE_DIR}/src/select/*.cpp"
  "${PROJECT_SOURCE_DIR}/src/mechanisms/*.cpp"
  "${PROJECT_SOURCE_DIR}/src/policy/*.cpp")
# The second half of a mechanism runs passes over a model and belongs to heed_llm.
list(FILTER core_sources EXCLUDE REGEX "\\.session\\.cpp$")
# Translation units of one ISA are objects of their own, see below.
list(FILTER core_sources EXCLUDE REGEX "/src/kernels/.*isa_[a-z0-9_]+\\.cpp$")

add_library(heed_core STATIC ${core_sources})
set_source_files_properties("${PROJECT_SOURCE_DIR}/src/base/version.cpp" PROPERTIES
  COMPILE_DEFINITIONS HEED_VERSION="${PROJECT_VERSION}")
target_include_directories(heed_core PUBLIC
  "${PROJECT_SOURCE_DIR}/include" "${PROJECT_SOURCE_DIR}/src")
target_link_libraries(heed_core PUBLIC heed_flags Threads::Threads)

# One object library per ISA. The flags are identical in every preset but for -O1 under sanitizers
# (a unit of products takes a minute so, five at -O2) and -O2 in debug, because results must not
# depend on the preset: contraction is spelled by the code (fma in the vocabulary), never chosen by
# the compiler.
set(avx512_flags -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx2 -mfma -mf16c)
set(heed_isa_scalar_flags "")
set(heed_isa_avx2_flags -mavx2 -mfma -mf16c)
set(heed_isa_avx512_flags ${avx512_flags})
set(heed_isa_avx512_vnni_flags ${avx512_flags} -mavx512vnni)
set(heed_isa_avx512_bf16_flags ${avx512_flags} -mavx512bf16 -mavx512vnni)
if(HEED_SANITIZE)
  set(isa_level -O1)
elseif(CMAKE_BUILD_TYPE STREQUAL "Debug")
  set(isa_level -O2)
else()
  set(isa_level -O3)
endif()

set(kernel_flags ${isa_level} -ffp-contract=off -fno-math-errno)

file(GLOB_RECURSE kernel_sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/src/kernels/*.cpp")
set_source_files_properties(${kernel_sources} PROPERTIES COMPILE_OPTIONS "${kernel_flags}")

set(HEED_ISA_TARGETS "")
foreach(isa IN ITEMS scalar avx2 avx512 avx512_vnni avx512_bf16)
  if(NOT isa STREQUAL "scalar" AND NOT CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
    continue()
  endif()
  # Attention and products, or products alone.
  file(GLOB units CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/src/kernels/isa_${isa}.cpp"
    "${PROJECT_SOURCE_DIR}/src/kernels/linear/isa_${isa}.cpp")
  add_library(heed_isa_${isa} OBJECT ${units})
  target_include_directories(heed_isa_${isa} PRIVATE
    "${PROJECT_SOURCE_DIR}/include" "${PROJECT_SOURCE_DIR}/src")
  target_link_libraries(heed_isa_${isa} PRIVATE heed_flags)
  target_compile_options(heed_isa_${isa} PRIVATE
    ${heed_isa_${isa}_flags})
  target_sources(heed_core PRIVATE $<TARGET_OBJECTS:heed_isa_${isa}>)
  list(APPEND HEED_ISA_TARGETS heed_isa_${isa})
endforeach()
