# libheed-c: include/heed.h and all that is behind it in one shared library, which exports the names
# of that header and no other. examples/*.c are programs on it.
file(GLOB capi_sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/src/capi/*.cpp")
add_library(heed_c_objects OBJECT ${capi_sources})  # tests take them without the library
target_link_libraries(heed_c_objects PUBLIC heed_llm)

set(heed_c_map "${PROJECT_SOURCE_DIR}/cmake/install/heed_c.map")
add_library(heed_c SHARED $<TARGET_OBJECTS:heed_c_objects>)
target_link_libraries(heed_c PRIVATE heed_llm)
target_link_options(heed_c PRIVATE "-Wl,--version-script=${heed_c_map}")
target_include_directories(heed_c INTERFACE "${PROJECT_SOURCE_DIR}/include")
set_target_properties(heed_c PROPERTIES OUTPUT_NAME heed-c LINKER_LANGUAGE CXX
  LINK_DEPENDS "${heed_c_map}" VERSION "${PROJECT_VERSION}"
  SOVERSION "${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR}")

file(GLOB examples CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/examples/*.c")
foreach(example IN LISTS examples)
  get_filename_component(name "${example}" NAME_WE)
  add_executable(example_${name} "${example}")
  set_target_properties(example_${name} PROPERTIES C_STANDARD 99 C_STANDARD_REQUIRED ON
    C_EXTENSIONS OFF RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/examples")
  target_compile_options(example_${name} PRIVATE -Wall -Wextra -Wpedantic -Werror)
  target_link_libraries(example_${name} PRIVATE heed_c)
  if(HEED_SANITIZE)
    target_link_options(example_${name} PRIVATE -fsanitize=${HEED_SANITIZE})
  endif()
endforeach()
