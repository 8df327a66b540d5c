fusionllm_add_test(io/checkpoint_folder_test.cpp)
fusionllm_add_test(io/checkpoint_reader_test.cpp)
fusionllm_add_test(io/checkpoint_test.cpp RANKS 1 3)
