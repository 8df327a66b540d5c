fusionllm_add_test(plan/schedule_test.cpp)
