fusionllm_add_test(wire/message_header_test.cpp LIBS GTest::gmock)
