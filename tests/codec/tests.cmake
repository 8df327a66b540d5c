fusionllm_add_test(codec/dropout_mask_test.cpp)
fusionllm_add_test(codec/value_block_test.cpp)
fusionllm_add_test(codec/codec_law_test.cpp)
fusionllm_add_test(codec/label_test.cpp)
target_compile_definitions(test_codec_label PRIVATE
  FUSIONLLM_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
fusionllm_add_test(codec/top_k_select_test.cpp)
fusionllm_add_test(codec/index_pack_test.cpp)
