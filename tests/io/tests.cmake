fusionllm_add_test(io/checkpoint_folder_test.cpp)
fusionllm_add_test(io/checkpoint_reader_test.cpp)
fusionllm_add_test(io/checkpoint_test.cpp RANKS 1 3)
fusionllm_add_test(io/hdf5_rows_test.cpp LIBS GTest::gmock)
fusionllm_add_test(io/model_file_test.cpp)
fusionllm_add_test(io/safetensors_test.cpp)
fusionllm_add_test(io/trace_test.cpp)
fusionllm_add_test(io/trace_writer_test.cpp)

add_executable(trace_program ${CMAKE_CURRENT_LIST_DIR}/trace_program.cpp)
target_link_libraries(trace_program PRIVATE fusionllm_io)
target_compile_options(trace_program PRIVATE -Wall -Wextra -Werror)
add_test(NAME io/trace_h5py
  COMMAND Python3::Interpreter ${CMAKE_CURRENT_LIST_DIR}/trace_test.py
          $<TARGET_FILE:trace_program>)
set_tests_properties(io/trace_h5py PROPERTIES
  LABELS unit TIMEOUT 60 SKIP_RETURN_CODE 77
  ENVIRONMENT "${fusionllm_test_environment}")
