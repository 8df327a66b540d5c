fusionllm_add_test(cost/cost_table_test.cpp)
fusionllm_add_test(cost/fit_device_test.cpp)
fusionllm_add_test(cost/op_seconds_test.cpp)
fusionllm_add_test(cost/workload_test.cpp)
