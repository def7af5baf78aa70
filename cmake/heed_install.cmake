# `make install PREFIX=...`: the command, libheed with its headers, and what finds them. Headers of
# heed_llm stay out: it is linked into the command, and its archive would need ggml's beside it.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set_target_properties(heed_core PROPERTIES OUTPUT_NAME heed)
install(TARGETS heed_core ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}")
set(core_headers attention cpu format heed kv mechanisms policy status version view)
list(TRANSFORM core_headers PREPEND "${PROJECT_SOURCE_DIR}/include/heed/")
list(TRANSFORM core_headers APPEND ".h")
install(FILES ${core_headers} DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/heed")
install(FILES "${PROJECT_SOURCE_DIR}/LICENSE" DESTINATION "${CMAKE_INSTALL_DATADIR}/licenses/heed"
  COMPONENT command)
if(TARGET heed)
  include(heed_install_command)
endif()

# Both are relocatable: they find the prefix from where they lie.
file(RELATIVE_PATH pc_to_prefix "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")
set(generated "${PROJECT_BINARY_DIR}/generated")
function(heed_pkg_config name)
  set(pc "${generated}/${name}.pc")
  configure_file("${PROJECT_SOURCE_DIR}/cmake/install/${name}.pc.in" "${pc}" @ONLY)
  install(FILES "${pc}" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
endfunction()
heed_pkg_config(heed)
if(TARGET heed_c)
  install(TARGETS heed_c LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}")
  install(FILES "${PROJECT_SOURCE_DIR}/include/heed.h" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
  heed_pkg_config(heed-c)
endif()
set(package "${CMAKE_INSTALL_LIBDIR}/cmake/heed")
configure_package_config_file("${PROJECT_SOURCE_DIR}/cmake/install/heedConfig.cmake.in"
  "${generated}/heedConfig.cmake" INSTALL_DESTINATION "${package}"
  PATH_VARS CMAKE_INSTALL_LIBDIR CMAKE_INSTALL_INCLUDEDIR)
write_basic_package_version_file("${generated}/heedConfigVersion.cmake"
  COMPATIBILITY SameMinorVersion)
install(FILES "${generated}/heedConfig.cmake" "${generated}/heedConfigVersion.cmake"
  DESTINATION "${package}")
