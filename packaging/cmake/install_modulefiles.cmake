# Runs at install time; the variables are set in Install.cmake.
get_filename_component(FUSIONLLM_PREFIX "${CMAKE_INSTALL_PREFIX}" ABSOLUTE)
set(FUSIONLLM_VERSION ${fusionllm_version})
set(FUSIONLLM_BINDIR ${fusionllm_bindir})
set(FUSIONLLM_DATADIR ${fusionllm_datadir})

set(filled ${fusionllm_binary_dir}/modulefiles)
configure_file(${fusionllm_source_dir}/modulefiles/fusionllm.lua.in
  ${filled}/${FUSIONLLM_VERSION}.lua @ONLY)
configure_file(${fusionllm_source_dir}/modulefiles/fusionllm.tcl.in
  ${filled}/${FUSIONLLM_VERSION} @ONLY)
file(INSTALL ${filled}/${FUSIONLLM_VERSION}.lua ${filled}/${FUSIONLLM_VERSION}
  DESTINATION ${FUSIONLLM_PREFIX}/${FUSIONLLM_DATADIR}/modulefiles/fusionllm)
