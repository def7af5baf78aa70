# cmake -DHEED=heed -DARGUMENTS="completion;bash" -DPAGE=FILE -P write_document.cmake
execute_process(COMMAND "${HEED}" ${ARGUMENTS} OUTPUT_FILE "${PAGE}" COMMAND_ERROR_IS_FATAL ANY)
