fusionllm_add_test(integration/partition_invariance_test.cpp
  LIBS fusionllm_training_harness TIMEOUT 300)
fusionllm_add_test(integration/fence_invariance_test.cpp
  LIBS fusionllm_training_harness TIMEOUT 300)

fusionllm_add_test(integration/imported_models_test.cpp
  LIBS fusionllm_training_harness fusionllm_importers
  nlohmann_json::nlohmann_json TIMEOUT 300)
target_compile_definitions(test_integration_imported_models PRIVATE
  FUSIONLLM_MODELS="${CMAKE_CURRENT_LIST_DIR}/models")

# The program itself, run from outside as its users do.
find_package(Python3 REQUIRED COMPONENTS Interpreter)
set(FUSIONLLM_TEST_OTHER_PROGRAM "" CACHE FILEPATH
  "A fusionllm with another LibTorch, to test runs of both together")
if(NOT FUSIONLLM_TEST_OTHER_PROGRAM)
  message(STATUS "Runs of two LibTorch versions are not tested: "
    "FUSIONLLM_TEST_OTHER_PROGRAM names no program")
endif()

add_executable(checkpoint_digest
  ${CMAKE_CURRENT_LIST_DIR}/checkpoint_digest.cpp)
target_link_libraries(checkpoint_digest PRIVATE fusionllm_io)
target_compile_options(checkpoint_digest PRIVATE -Wall -Wextra -Werror)

add_executable(attention_model ${CMAKE_CURRENT_LIST_DIR}/attention_model.cpp)
target_link_libraries(attention_model PRIVATE fusionllm_app)
target_compile_options(attention_model PRIVATE -Wall -Wextra -Werror)

function(fusionllm_add_program_test name)
  cmake_parse_arguments(ARG "" "PROCESSORS;TIMEOUT" "" ${ARGN})
  add_test(NAME integration/${name}
    COMMAND Python3::Interpreter
            ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/${name}_test.py
            --program $<TARGET_FILE:fusionllm>
            --mpiexec ${MPIEXEC_EXECUTABLE}
            --digest $<TARGET_FILE:checkpoint_digest>
            --attention-model $<TARGET_FILE:attention_model>
            --other-program "${FUSIONLLM_TEST_OTHER_PROGRAM}")
  set_tests_properties(integration/${name} PROPERTIES
    LABELS integration TIMEOUT ${ARG_TIMEOUT} PROCESSORS ${ARG_PROCESSORS}
    ENVIRONMENT PYTHONDONTWRITEBYTECODE=1)
endfunction()

# Ranks of these tests wait more than they compute, so two tests share two cores
# better than one; but 48 ranks are enough for any machine.
fusionllm_add_program_test(bad_input PROCESSORS 1 TIMEOUT 240)
fusionllm_add_program_test(commands PROCESSORS 1 TIMEOUT 180)
fusionllm_add_program_test(compression PROCESSORS 1 TIMEOUT 600)
fusionllm_add_program_test(emulated PROCESSORS 1 TIMEOUT 240)
fusionllm_add_program_test(groups PROCESSORS 1 TIMEOUT 240)
fusionllm_add_program_test(images PROCESSORS 1 TIMEOUT 240)
fusionllm_add_program_test(kill PROCESSORS 1 TIMEOUT 180)
fusionllm_add_program_test(many_ranks PROCESSORS 48 TIMEOUT 300)
fusionllm_add_program_test(mixed_versions PROCESSORS 1 TIMEOUT 400)
fusionllm_add_program_test(non_finite PROCESSORS 1 TIMEOUT 120)
fusionllm_add_program_test(resume PROCESSORS 1 TIMEOUT 240)
fusionllm_add_program_test(stop PROCESSORS 1 TIMEOUT 240)
fusionllm_add_program_test(trace PROCESSORS 1 TIMEOUT 180)
fusionllm_add_program_test(shaped PROCESSORS 1 TIMEOUT 300)
fusionllm_add_program_test(own_disks PROCESSORS 1 TIMEOUT 240)
fusionllm_add_program_test(probe PROCESSORS 1 TIMEOUT 240)
fusionllm_add_program_test(waits PROCESSORS 1 TIMEOUT 180)
fusionllm_add_program_test(pytorch PROCESSORS 1 TIMEOUT 240)
if(TARGET fusionllm_sentencepiece)
  fusionllm_add_program_test(sentencepiece PROCESSORS 1 TIMEOUT 180)
endif()
