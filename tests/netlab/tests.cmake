find_package(Python3 REQUIRED COMPONENTS Interpreter)

add_test(NAME netlab/testbed
  COMMAND Python3::Interpreter ${CMAKE_CURRENT_LIST_DIR}/testbed_test.py
          --source ${PROJECT_SOURCE_DIR})
set_tests_properties(netlab/testbed PROPERTIES LABELS unit TIMEOUT 60)
if(TARGET fusionllm-netlab-delay)
  add_test(NAME netlab/lab
    COMMAND Python3::Interpreter ${CMAKE_CURRENT_LIST_DIR}/netlab_test.py
            --netlab ${CMAKE_RUNTIME_OUTPUT_DIRECTORY}/fusionllm-netlab
            --program $<TARGET_FILE:fusionllm>
            --mpiexec ${MPIEXEC_EXECUTABLE})
  set_tests_properties(netlab/lab PROPERTIES
    LABELS integration TIMEOUT 240 PROCESSORS 2 SKIP_RETURN_CODE 77)
endif()
set_property(TEST netlab/testbed APPEND PROPERTY
  ENVIRONMENT PYTHONDONTWRITEBYTECODE=1)
