add_library(fusionllm_exec_harness STATIC
  exec/stage_chain.cpp exec/random_graph.cpp)
target_include_directories(fusionllm_exec_harness PUBLIC exec)
target_compile_options(fusionllm_exec_harness PRIVATE -Wall -Wextra -Werror)
target_link_libraries(fusionllm_exec_harness PUBLIC fusionllm_runtime)

fusionllm_add_test(exec/stage_property_test.cpp LIBS fusionllm_exec_harness)
fusionllm_add_test(exec/stage_test.cpp LIBS fusionllm_exec_harness)
fusionllm_add_test(exec/oracle_test.cpp LIBS fusionllm_exec_harness)
fusionllm_add_test(exec/op_runner_test.cpp LIBS fusionllm_exec_harness)
fusionllm_add_test(exec/optimizer_test.cpp)
fusionllm_add_test(exec/parameter_store_test.cpp)
fusionllm_add_test(exec/tensor_test.cpp)
fusionllm_add_test(exec/threads_test.cpp)
