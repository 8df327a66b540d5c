# A short run; the long one is a command in decoder_fuzz.cpp.
add_executable(decoder_fuzz ${CMAKE_CURRENT_LIST_DIR}/decoder_fuzz.cpp)
target_compile_options(decoder_fuzz PRIVATE -Wall -Wextra -Werror)
target_link_libraries(decoder_fuzz PRIVATE fusionllm_codec)
add_test(NAME fuzz/decoder COMMAND decoder_fuzz 20000 1)
set_tests_properties(fuzz/decoder PROPERTIES
  LABELS unit TIMEOUT 120
  ENVIRONMENT "${fusionllm_test_environment}")
