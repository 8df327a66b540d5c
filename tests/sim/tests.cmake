fusionllm_add_test(sim/bottleneck_test.cpp)
fusionllm_add_test(sim/choose_plan_test.cpp TIMEOUT 180)
fusionllm_add_test(sim/depth_test.cpp)
fusionllm_add_test(sim/simulate_test.cpp)
fusionllm_add_test(sim/step_parts_test.cpp)

find_package(Python3 REQUIRED COMPONENTS Interpreter)
add_executable(chrome_trace_program
  ${CMAKE_CURRENT_LIST_DIR}/chrome_trace_program.cpp)
target_link_libraries(chrome_trace_program PRIVATE fusionllm_sim)
target_compile_options(chrome_trace_program PRIVATE -Wall -Wextra -Werror
  ${fusionllm_no_false_warnings})
add_test(NAME sim/chrome_trace
  COMMAND Python3::Interpreter ${CMAKE_CURRENT_LIST_DIR}/chrome_trace_test.py
          $<TARGET_FILE:chrome_trace_program>)
set_tests_properties(sim/chrome_trace PROPERTIES LABELS unit TIMEOUT 60
  ENVIRONMENT PYTHONDONTWRITEBYTECODE=1)
