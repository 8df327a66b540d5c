fusionllm_add_test(sim/simulate_test.cpp)
