# Benchmarks: one program a question. ctest only runs each of them once with
# tiny sizes, to see that it still works; the *.sh beside them measure.
if(NOT FUSIONLLM_BENCHMARKS)
  return()
endif()

add_executable(bench_pipeline
  ${CMAKE_CURRENT_LIST_DIR}/bare_loop.cpp
  ${CMAKE_CURRENT_LIST_DIR}/pipeline.cpp
  ${CMAKE_CURRENT_LIST_DIR}/pipeline_report.cpp)
target_compile_options(bench_pipeline PRIVATE -Wall -Wextra -Werror)
target_link_libraries(bench_pipeline PRIVATE fusionllm_runtime CLI11::CLI11)

set(fusionllm_tiny_bench --layers 2 --width 16 --heads 2 --context 8
  --micro-batches 2 --warmup 1 --steps 2)
add_test(NAME bench/pipeline/1
  COMMAND ${MPIEXEC_EXECUTABLE} ${MPIEXEC_NUMPROC_FLAG} 1 --bind-to none
          $<TARGET_FILE:bench_pipeline> --bare ${fusionllm_tiny_bench})
add_test(NAME bench/pipeline/2
  COMMAND ${MPIEXEC_EXECUTABLE} ${MPIEXEC_NUMPROC_FLAG} 2 --oversubscribe
          --bind-to none $<TARGET_FILE:bench_pipeline> ${fusionllm_tiny_bench})
set_tests_properties(bench/pipeline/1 bench/pipeline/2 PROPERTIES
  LABELS mpi TIMEOUT 60
  ENVIRONMENT "OMPI_ALLOW_RUN_AS_ROOT=1;OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1")
# One thread, same numbers: the two loops must compute the same thing.
set_tests_properties(bench/pipeline/1 PROPERTIES
  PASS_REGULAR_EXPRESSION "losses differ by ([0-9.]+e-(0[6-9]|[1-9])|0.0e.00)")

# The sizes are tiny and the machine may be busy: no figure is looked at.
add_executable(bench_estimator ${CMAKE_CURRENT_LIST_DIR}/estimator.cpp)
target_compile_options(bench_estimator PRIVATE -Wall -Wextra -Werror)
target_link_libraries(bench_estimator PRIVATE
  fusionllm_runtime fusionllm_sim CLI11::CLI11)
add_test(NAME bench/estimator/ops
  COMMAND bench_estimator --quick --repeat 1 ops)
add_test(NAME bench/estimator/step
  COMMAND bench_estimator --quick --repeat 1 step --layers 2 --width 16
          --heads 2 --context 8 --micro-batches 2)
set_tests_properties(bench/estimator/ops bench/estimator/step PROPERTIES
  LABELS unit TIMEOUT 60)

add_executable(bench_planner ${CMAKE_CURRENT_LIST_DIR}/planner.cpp)
target_compile_options(bench_planner PRIVATE -Wall -Wextra -Werror)
target_link_libraries(bench_planner PRIVATE fusionllm_sim)
add_test(NAME bench/planner COMMAND bench_planner --quick)
set_tests_properties(bench/planner PROPERTIES LABELS unit TIMEOUT 60)

add_executable(bench_receives ${CMAKE_CURRENT_LIST_DIR}/receives.cpp)
target_compile_options(bench_receives PRIVATE -Wall -Wextra -Werror)
target_link_libraries(bench_receives PRIVATE fusionllm_comm CLI11::CLI11)
add_test(NAME bench/receives
  COMMAND ${MPIEXEC_EXECUTABLE} ${MPIEXEC_NUMPROC_FLAG} 2 --oversubscribe
          --bind-to none $<TARGET_FILE:bench_receives> --rounds 1 --messages 3
          --sizes 1 100000)
set_tests_properties(bench/receives PROPERTIES LABELS mpi TIMEOUT 60
  ENVIRONMENT "OMPI_ALLOW_RUN_AS_ROOT=1;OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1")

add_executable(bench_codec ${CMAKE_CURRENT_LIST_DIR}/codec.cpp)
target_compile_options(bench_codec PRIVATE -Wall -Wextra -Werror)
target_link_libraries(bench_codec PRIVATE
  fusionllm_codec fusionllm_exec CLI11::CLI11)
add_test(NAME bench/codec
  COMMAND bench_codec --rounds 1 --sizes 1000 5120 --ratios 10 100)
set_tests_properties(bench/codec PROPERTIES LABELS unit TIMEOUT 60)

find_package(Python3 REQUIRED COMPONENTS Interpreter)
add_test(NAME bench/convergence
  COMMAND Python3::Interpreter ${CMAKE_CURRENT_LIST_DIR}/convergence_test.py)
add_test(NAME bench/evaluation
  COMMAND Python3::Interpreter ${CMAKE_CURRENT_LIST_DIR}/evaluation_test.py)
set_tests_properties(bench/convergence bench/evaluation PROPERTIES
  LABELS unit TIMEOUT 60 ENVIRONMENT PYTHONDONTWRITEBYTECODE=1)

add_test(NAME bench/images
  COMMAND Python3::Interpreter ${CMAKE_CURRENT_LIST_DIR}/images.py
          --program $<TARGET_FILE:fusionllm> --mpiexec ${MPIEXEC_EXECUTABLE}
          --ranks 2 --steps 1 --batch 8 --channels 2 --image 8
          --size resnet18)
set_tests_properties(bench/images PROPERTIES LABELS mpi TIMEOUT 120
  ENVIRONMENT "OMPI_ALLOW_RUN_AS_ROOT=1;OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1")

# The embedding is large enough to be seen if it is ever held twice; but a
# sanitizer keeps memory that was given back.
if(NOT FUSIONLLM_SANITIZE)
  add_test(NAME bench/import_memory
    COMMAND Python3::Interpreter ${CMAKE_CURRENT_LIST_DIR}/import_memory.py
            --program $<TARGET_FILE:fusionllm> --mpiexec ${MPIEXEC_EXECUTABLE}
            --ranks 3 --layers 7 --width 512 --heads 8 --vocabulary 30000
            --check)
  set_tests_properties(bench/import_memory PROPERTIES LABELS mpi TIMEOUT 180
    SKIP_RETURN_CODE 77
    ENVIRONMENT "OMPI_ALLOW_RUN_AS_ROOT=1;OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1;PYTHONDONTWRITEBYTECODE=1")
endif()
