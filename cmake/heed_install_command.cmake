# The command, what it prints about itself (man page, completions), and the licences of what it
# holds: the component `command`, which is all that scripts/dist packs.
install(TARGETS heed RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}" COMPONENT command)

# heed_document(FILE DESTINATION ARGUMENTS...): FILE is what `heed ARGUMENTS` prints.
set(documents "")
function(heed_document file destination)
  set(path "${PROJECT_BINARY_DIR}/generated/documents/${file}")
  add_custom_command(OUTPUT "${path}" DEPENDS heed VERBATIM COMMAND "${CMAKE_COMMAND}"
    "-DHEED=$<TARGET_FILE:heed>" "-DARGUMENTS=${ARGN}" "-DPAGE=${path}"
    -P "${PROJECT_SOURCE_DIR}/cmake/write_document.cmake")
  install(FILES "${path}" DESTINATION "${destination}" COMPONENT command)
  set(documents "${documents}" "${path}" PARENT_SCOPE)
endfunction()
heed_document(heed.1 "${CMAKE_INSTALL_MANDIR}/man1" man)
heed_document(heed "${CMAKE_INSTALL_DATADIR}/bash-completion/completions" completion bash)
heed_document(_heed "${CMAKE_INSTALL_DATADIR}/zsh/site-functions" completion zsh)
heed_document(heed.fish "${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d" completion fish)
add_custom_target(heed_documents ALL DEPENDS ${documents})

install(FILES "${deps}/share/LICENSE.llama.cpp" "${PROJECT_SOURCE_DIR}/cmake/install/licenses/CLI11"
  "${PROJECT_SOURCE_DIR}/cmake/install/licenses/fmt"
  "${PROJECT_SOURCE_DIR}/cmake/install/licenses/nlohmann-json"
  DESTINATION "${CMAKE_INSTALL_DATADIR}/licenses/heed" COMPONENT command)
