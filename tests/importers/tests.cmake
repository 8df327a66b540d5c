set(fusionllm_archives ${CMAKE_CURRENT_LIST_DIR}/archives)

fusionllm_add_test(importers/zip_archive_test.cpp)
fusionllm_add_test(importers/import_pt2_test.cpp)
fusionllm_add_test(importers/import_torchscript_test.cpp LIBS GTest::gmock
  TIMEOUT 120)
fusionllm_add_test(importers/in_place_test.cpp LIBS GTest::gmock)
fusionllm_add_test(importers/loss_test.cpp)
fusionllm_add_test(importers/operator_memory_test.cpp LIBS GTest::gmock)
target_include_directories(test_importers_operator_memory PRIVATE
  ${PROJECT_SOURCE_DIR}/src)
fusionllm_add_test(importers/oracle_test.cpp
  LIBS fusionllm_exec nlohmann_json::nlohmann_json)
fusionllm_add_test(importers/fuzz_test.cpp TIMEOUT 120)
foreach(test zip_archive import_pt2 import_torchscript in_place oracle
    fuzz)
  target_compile_definitions(test_importers_${test} PRIVATE
    FUSIONLLM_ARCHIVES="${fusionllm_archives}")
endforeach()
