find_package(Python3 REQUIRED COMPONENTS Interpreter)
find_program(BASH_PROGRAM bash REQUIRED)

# The tests below look at one installation, in a folder of the build tree.
set(fusionllm_install_dir ${PROJECT_BINARY_DIR}/tests/installed)
add_test(NAME install/install
  COMMAND ${CMAKE_COMMAND} --install ${PROJECT_BINARY_DIR}
          --prefix ${fusionllm_install_dir})
add_test(NAME install/tree
  COMMAND ${BASH_PROGRAM} ${CMAKE_CURRENT_LIST_DIR}/tree_test.sh
          ${fusionllm_install_dir} ${PROJECT_VERSION})
add_test(NAME install/modulefiles
  COMMAND ${BASH_PROGRAM} ${CMAKE_CURRENT_LIST_DIR}/modulefiles_test.sh
          ${fusionllm_install_dir} ${PROJECT_VERSION})

set_tests_properties(install/install PROPERTIES
  LABELS unit TIMEOUT 60 FIXTURES_SETUP fusionllm_installed)
set_tests_properties(install/tree install/modulefiles PROPERTIES
  LABELS unit TIMEOUT 60 FIXTURES_REQUIRED fusionllm_installed
  ENVIRONMENT "OMPI_ALLOW_RUN_AS_ROOT=1;OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1")
set_tests_properties(install/modulefiles PROPERTIES SKIP_RETURN_CODE 77)

# jobs/train.sbatch with a made-up Slurm and a made-up program.
add_test(NAME install/train_sbatch
  COMMAND ${BASH_PROGRAM} ${CMAKE_CURRENT_LIST_DIR}/train_sbatch_test.sh
          ${PROJECT_SOURCE_DIR}/jobs/train.sbatch)
set_tests_properties(install/train_sbatch PROPERTIES LABELS unit TIMEOUT 60)

# jobs/two-sites.sh with made-up hosts and a made-up program; netlab/lab runs it
# for real.
add_test(NAME install/two_sites
  COMMAND ${BASH_PROGRAM} ${CMAKE_CURRENT_LIST_DIR}/two_sites_test.sh
          ${PROJECT_SOURCE_DIR}/jobs/two-sites.sh)
set_tests_properties(install/two_sites PROPERTIES LABELS unit TIMEOUT 60)
