fusionllm_add_test(app/run_input_test.cpp)
fusionllm_add_test(app/run_input_errors_test.cpp)
fusionllm_add_test(app/input_page_test.cpp)
target_compile_definitions(test_app_input_page PRIVATE
  FUSIONLLM_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
fusionllm_add_test(app/adaptation_test.cpp)
fusionllm_add_test(app/device_software_test.cpp LIBS GTest::gmock)
fusionllm_add_test(app/load_data_test.cpp LIBS GTest::gmock)
target_include_directories(test_app_load_data PRIVATE ${CMAKE_CURRENT_LIST_DIR}/..)
fusionllm_add_test(app/model_file_test.cpp)
target_compile_definitions(test_app_model_file PRIVATE
  FUSIONLLM_ARCHIVES="${PROJECT_SOURCE_DIR}/tests/importers/archives")
fusionllm_add_test(app/model_test.cpp)
fusionllm_add_test(app/plan_svg_test.cpp)
fusionllm_add_test(app/probe_sites_test.cpp)
fusionllm_add_test(app/topology_toml_test.cpp)
fusionllm_add_test(app/testbeds_test.cpp)
target_compile_definitions(test_app_testbeds PRIVATE
  FUSIONLLM_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
