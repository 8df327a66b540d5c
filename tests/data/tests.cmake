fusionllm_add_test(data/k_hop_test.cpp)
fusionllm_add_test(data/sample_order_test.cpp)
fusionllm_add_test(data/synthetic_test.cpp)
fusionllm_add_test(data/text_test.cpp LIBS GTest::gmock)
