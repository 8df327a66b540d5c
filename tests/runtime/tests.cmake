fusionllm_add_test(runtime/basis_schedule_test.cpp)
fusionllm_add_test(runtime/calibrate_test.cpp)
fusionllm_add_test(runtime/learning_rate_test.cpp)
fusionllm_add_test(runtime/message_test.cpp)
fusionllm_add_test(runtime/step_measurements_test.cpp)
fusionllm_add_test(runtime/link_survey_test.cpp)
fusionllm_add_test(runtime/step_report_test.cpp)
fusionllm_add_test(runtime/shaping_test.cpp)
fusionllm_add_test(runtime/wait_watch_test.cpp)

fusionllm_add_test(runtime/emulation_test.cpp LIBS fusionllm_training_harness
  TIMEOUT 120)
fusionllm_add_test(runtime/fence_codecs_test.cpp LIBS fusionllm_training_harness)
fusionllm_add_test(runtime/non_finite_test.cpp LIBS fusionllm_training_harness
  TIMEOUT 120)
fusionllm_add_test(runtime/pipeline_test.cpp LIBS fusionllm_training_harness
  TIMEOUT 120)
fusionllm_add_test(runtime/waits_test.cpp LIBS fusionllm_training_harness)
fusionllm_add_test(runtime/codec_probe_test.cpp LIBS fusionllm_training_harness)
