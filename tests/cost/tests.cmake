fusionllm_add_test(cost/workload_test.cpp)
