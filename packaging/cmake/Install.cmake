# cmake --install: the program, inputs with the text they learn from, pages,
# the batch script, and module files for the prefix that it goes to.
set_target_properties(fusionllm PROPERTIES INSTALL_RPATH_USE_LINK_PATH ON)
install(TARGETS fusionllm RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
if(TARGET fusionllm_sentencepiece)
  install(TARGETS fusionllm_sentencepiece
    LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
endif()
install(PROGRAMS src/tools/fusionllm-export-model
  DESTINATION ${CMAKE_INSTALL_BINDIR})
if(TARGET fusionllm-netlab-delay)
  install(TARGETS fusionllm-netlab-delay
    RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
  install(PROGRAMS src/tools/fusionllm-netlab
    DESTINATION ${CMAKE_INSTALL_BINDIR})
  install(DIRECTORY src/tools/netlab USE_SOURCE_PERMISSIONS
    DESTINATION ${CMAKE_INSTALL_DATADIR}/fusionllm/tools
    PATTERN "__pycache__" EXCLUDE)
endif()

# Paths in inputs/ are relative (../docs, ../src, ...), so the folders keep
# their places to each other.
set(fusionllm_data_dir ${CMAKE_INSTALL_DATADIR}/fusionllm)
install(DIRECTORY inputs docs src include DESTINATION ${fusionllm_data_dir}
  PATTERN "__pycache__" EXCLUDE)
install(FILES README.md CHANGELOG.md LICENSE DESTINATION ${fusionllm_data_dir})
install(PROGRAMS jobs/train.sbatch jobs/two-sites.sh
  DESTINATION ${fusionllm_data_dir}/jobs)
install(FILES jobs/common.sh DESTINATION ${fusionllm_data_dir}/jobs)

# The prefix is known only now: cmake --install may be given another one.
install(CODE "
  set(fusionllm_source_dir [==[${PROJECT_SOURCE_DIR}]==])
  set(fusionllm_binary_dir [==[${PROJECT_BINARY_DIR}]==])
  set(fusionllm_version ${PROJECT_VERSION})
  set(fusionllm_bindir ${CMAKE_INSTALL_BINDIR})
  set(fusionllm_datadir ${CMAKE_INSTALL_DATADIR})")
install(SCRIPT packaging/cmake/install_modulefiles.cmake)
