# tests/<room>/*.cpp is one executable test_<room>; tests/<room>/full/*.cpp is test_<room>_full with
# the label `full`; fuzz/<name>.cpp is a libFuzzer target or a replay of fuzz/corpus/<name>;
# bench/*.cpp are stand-alone programs. Everything is found by name.
set(llm_rooms model session eval capi cli llm)
enable_testing()

find_package(GTest QUIET)
if(HEED_TESTS AND NOT GTest_FOUND)
  message(STATUS "heed: no tests: GoogleTest is missing (run scripts/bootstrap)")
endif()
include(GoogleTest)

# heed_test(TARGET ROOM LABEL SOURCES...)
function(heed_test target room label)
  add_executable(${target} ${ARGN})
  set_target_properties(${target} PROPERTIES
    RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests")
  target_include_directories(${target} PRIVATE
    "${PROJECT_SOURCE_DIR}/tests" "${PROJECT_SOURCE_DIR}/tests/support")
  target_link_libraries(${target} PRIVATE GTest::gtest GTest::gtest_main)
  if(room IN_LIST llm_rooms)
    target_link_libraries(${target} PRIVATE heed_llm ZLIB::ZLIB)
    # What these tests call is hot, not they: a quarter of their compile time.
    target_compile_options(${target} PRIVATE $<$<CONFIG:Release>:-O1>)
    if(room STREQUAL "capi")
      target_link_libraries(${target} PRIVATE heed_c_objects)
      add_dependencies(${target} example_generate)
      target_compile_definitions(${target} PRIVATE
        HEED_EXAMPLE="$<TARGET_FILE:example_generate>")
    endif()
    if(room STREQUAL "cli" AND TARGET heed_cli)
      target_link_libraries(${target} PRIVATE heed_cli)
    endif()
    if(room STREQUAL "cli" AND TARGET heed)
      add_dependencies(${target} heed)
      # Only here: a path of this clone in a command line keeps ccache from serving other clones.
      target_compile_definitions(${target} PRIVATE HEED_BINARY="$<TARGET_FILE:heed>"
        HEED_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
    endif()
  else()
    target_link_libraries(${target} PRIVATE heed_core)
  endif()
  # ctest -R '^kv/' runs one room.
  gtest_discover_tests(${target} TEST_PREFIX "${room}/" DISCOVERY_TIMEOUT 60
    PROPERTIES TIMEOUT 600 LABELS "${label}")
endfunction()

file(GLOB test_folders CONFIGURE_DEPENDS LIST_DIRECTORIES true "${PROJECT_SOURCE_DIR}/tests/*")
foreach(folder IN LISTS test_folders)
  get_filename_component(room "${folder}" NAME)
  if(NOT HEED_TESTS OR NOT GTest_FOUND OR NOT IS_DIRECTORY "${folder}" OR room STREQUAL "support")
    continue()
  endif()
  if(room IN_LIST llm_rooms AND NOT HEED_HAVE_LLM)
    continue()
  endif()
  file(GLOB sources CONFIGURE_DEPENDS "${folder}/*.cpp")
  if(sources)
    heed_test(test_${room} ${room} quick ${sources})
  endif()
  file(GLOB full_sources CONFIGURE_DEPENDS "${folder}/full/*.cpp")
  if(full_sources)
    heed_test(test_${room}_full ${room} full ${full_sources})
  endif()
endforeach()

if(HEED_TESTS AND Python3_Interpreter_FOUND)
  add_test(NAME rooms_only_look_upwards
    COMMAND "${Python3_EXECUTABLE}" "${PROJECT_SOURCE_DIR}/scripts/check_layers.py")
  set_tests_properties(rooms_only_look_upwards PROPERTIES LABELS quick TIMEOUT 60)
  # tests/tree/*_test.py: what no C++ test reaches, the scripts and the installed tree. Those of
  # full/ take minutes.
  if(HEED_HAVE_LLM)
    add_executable(tiny_model "${PROJECT_SOURCE_DIR}/tests/support/tiny_model.cpp")
    set_target_properties(tiny_model PROPERTIES
      RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests")
    target_link_libraries(tiny_model PRIVATE heed_core)
  endif()
  file(GLOB script_tests CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/tests/tree/*_test.py"
    "${PROJECT_SOURCE_DIR}/tests/tree/full/*_test.py")
  foreach(script IN LISTS script_tests)
    get_filename_component(name "${script}" NAME_WE)
    set(label quick)
    set(seconds 300)
    if(script MATCHES "/full/")
      set(label full)
      set(seconds 5400)
    endif()
    if(HEED_SANITIZE AND (name STREQUAL "install_test" OR label STREQUAL "full"))
      continue()  # a program outside is not instrumented
    endif()
    add_test(NAME tree/${name} COMMAND "${Python3_EXECUTABLE}" "${script}")
    set(own "HEED_BINARY_DIR=${PROJECT_BINARY_DIR}" "HEED_CC=${CMAKE_C_COMPILER}"
      "HEED_CXX=${CMAKE_CXX_COMPILER}")
    # A script with a test that was skipped counts as skipped, so that ctest's summary names it.
    set_tests_properties(tree/${name} PROPERTIES LABELS "${label}" TIMEOUT "${seconds}"
      ENVIRONMENT "${own}" SKIP_REGULAR_EXPRESSION "OK \\(skipped=")
  endforeach()
endif()

# Sanitizers put symbols of their own into every object, so the check reads plain builds only.
function(heed_symbol_test name)
  set(objects "")
  foreach(target IN LISTS ARGN)
    list(APPEND objects "$<TARGET_OBJECTS:${target}>")
  endforeach()
  add_test(NAME ${name}
    COMMAND "${CMAKE_COMMAND}" "-DNM=${CMAKE_NM}" "-DOBJECTS=${objects}"
      -P "${PROJECT_SOURCE_DIR}/cmake/check_isa_symbols.cmake")
  set_tests_properties(${name} PROPERTIES LABELS quick TIMEOUT 60)
endfunction()
if(HEED_TESTS AND CMAKE_NM AND NOT HEED_SANITIZE)
  if(HEED_ISA_TARGETS)
    heed_symbol_test(isa_objects_define_only_their_namespace ${HEED_ISA_TARGETS})
  endif()
  # The check itself must see a fault, or its silence means nothing.
  add_library(heed_isa_with_faults OBJECT
    "${PROJECT_SOURCE_DIR}/tests/support/isa_symbols/isa_avx512.cpp")
  target_compile_options(heed_isa_with_faults PRIVATE -O0)
  heed_symbol_test(isa_symbol_check_sees_faults heed_isa_with_faults)
  set_tests_properties(isa_symbol_check_sees_faults PROPERTIES PASS_REGULAR_EXPRESSION
    "outside its namespace: outside_the_namespace.*weak symbol int heed::avx512::weak")
endif()

# A fuzz target reads bytes only, so each may use the whole library that it can link.
file(GLOB fuzz_sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/fuzz/*.cpp")
list(FILTER fuzz_sources EXCLUDE REGEX "/replay_main\\.cpp$")
if(HEED_FUZZ AND HEED_HAVE_LLM)
  # What the fuzzer steers by: the readers' branches, not only the targets' own.
  foreach(library IN ITEMS heed_core heed_llm)
    target_compile_options(${library} PRIVATE -fsanitize=fuzzer-no-link)
  endforeach()
  add_custom_target(fuzzers)
endif()
foreach(source IN LISTS fuzz_sources)
  if(NOT HEED_HAVE_LLM)
    continue()
  endif()
  get_filename_component(name "${source}" NAME_WE)
  if(HEED_FUZZ)
    if(NOT CMAKE_CXX_COMPILER_ID MATCHES "Clang")
      message(FATAL_ERROR "HEED_FUZZ needs clang (libFuzzer); this is ${CMAKE_CXX_COMPILER_ID}")
    endif()
    add_executable(fuzz_${name} "${source}")
    target_compile_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
    target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
    add_dependencies(fuzzers fuzz_${name})
  else()
    add_executable(fuzz_${name} "${source}" "${PROJECT_SOURCE_DIR}/fuzz/replay_main.cpp")
    add_test(NAME fuzz_replay_${name}
      COMMAND fuzz_${name} "${PROJECT_SOURCE_DIR}/fuzz/corpus/${name}" --mutate 2)
    set_tests_properties(fuzz_replay_${name} PROPERTIES LABELS quick TIMEOUT 300)
  endif()
  set_target_properties(fuzz_${name} PROPERTIES
    RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/fuzz")
  target_link_libraries(fuzz_${name} PRIVATE heed_llm)
endforeach()

file(GLOB bench_sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/bench/*.cpp")
foreach(source IN LISTS bench_sources)
  if(NOT HEED_BENCH OR NOT HEED_HAVE_LLM)
    continue()
  endif()
  get_filename_component(name "${source}" NAME_WE)
  add_executable(bench_${name} "${source}")
  set_target_properties(bench_${name} PROPERTIES
    RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/bench")
  target_link_libraries(bench_${name} PRIVATE heed_llm)
endforeach()

# A comparison with a library that heed does without: only when asked for.
if(HEED_BENCH_ONEDNN)
  find_package(dnnl QUIET)
  find_package(OpenMP QUIET COMPONENTS CXX)
  if(NOT DNNL_CPU_THREADING_RUNTIME STREQUAL "OMP" OR NOT OpenMP_CXX_FOUND OR NOT HEED_HAVE_LLM)
    message(FATAL_ERROR "HEED_BENCH_ONEDNN needs oneDNN with OpenMP (Debian: libdnnl-dev) and what "
      "scripts/bootstrap builds; install them, or leave it OFF")
  endif()
  add_executable(bench_onednn_linears "${PROJECT_SOURCE_DIR}/bench/compare/onednn_linears.cpp")
  set_target_properties(bench_onednn_linears PROPERTIES
    RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/bench")
  target_link_libraries(bench_onednn_linears PRIVATE heed_llm DNNL::dnnl OpenMP::OpenMP_CXX)
endif()
