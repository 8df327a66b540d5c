fusionllm_add_test(wire/message_header_test.cpp LIBS GTest::gmock)
fusionllm_add_test(wire/codec_spec_test.cpp)
fusionllm_add_test(wire/codec_choice_test.cpp)
