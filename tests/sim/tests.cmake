fusionllm_add_test(sim/depth_test.cpp)
fusionllm_add_test(sim/simulate_test.cpp)
