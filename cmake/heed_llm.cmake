# heed_llm: models, sessions, evaluation on ggml and llama.cpp; and the command `heed`.
file(GLOB_RECURSE llm_sources CONFIGURE_DEPENDS
  "${PROJECT_SOURCE_DIR}/src/model/*.cpp" "${PROJECT_SOURCE_DIR}/src/session/*.cpp"
  "${PROJECT_SOURCE_DIR}/src/eval/*.cpp" "${PROJECT_SOURCE_DIR}/src/mechanisms/*.session.cpp")

# The catalogue travels inside the binary, so an installed heed knows its models.
set(models_cpp "${PROJECT_BINARY_DIR}/generated/models_json.cpp")
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/models.json")
file(READ "${PROJECT_SOURCE_DIR}/models.json" models_text)
configure_file("${PROJECT_SOURCE_DIR}/cmake/models_json.cpp.in" "${models_cpp}" @ONLY)

add_library(heed_llm STATIC ${llm_sources} "${models_cpp}")
target_link_libraries(heed_llm PUBLIC
  heed_core heed-llama-common llama ggml nlohmann_json::nlohmann_json ${heed_fmt}
  PRIVATE ZLIB::ZLIB)
# llama.cpp's function that cuts text into words is heed's in every program (src/model/text_cutter.h):
# what calls unicode_regex_split(text, patterns, byte_encode) gets `__wrap_` of its symbol.
set(cut_words "_Z19unicode_regex_splitRKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEERKSt6vectorIS4_SaIS4_EEb")
target_link_options(heed_llm INTERFACE
  "LINKER:--wrap=${cut_words}" "LINKER:--undefined=__wrap_${cut_words}")

file(GLOB_RECURSE cli_sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/src/cli/*.cpp")
list(FILTER cli_sources EXCLUDE REGEX "/src/cli/main\\.cpp$")
if(cli_sources)
  # A library, so that tests/cli can call the verbs without a process.
  add_library(heed_cli STATIC ${cli_sources})
  target_link_libraries(heed_cli PUBLIC heed_llm CLI11::CLI11)
  # CLI11 and JSON are templates: at -O3 they cost twice the compile time and nothing here is hot.
  target_compile_options(heed_cli PRIVATE $<$<CONFIG:Release>:-O1>)
endif()
file(GLOB main_cpp CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/src/cli/main.cpp")
if(main_cpp)
  add_executable(heed ${main_cpp})
  target_link_libraries(heed PRIVATE heed_llm CLI11::CLI11)
  if(HEED_STATIC)
    target_link_options(heed PRIVATE -static-pie)
  endif()
  if(TARGET heed_cli)
    target_link_libraries(heed PRIVATE heed_cli)
  endif()
endif()
