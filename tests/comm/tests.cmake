fusionllm_add_test(comm/intercommunicator_test.cpp RANKS 4)
fusionllm_add_test(comm/loopback_test.cpp LIBS GTest::gmock)
fusionllm_add_test(comm/mpi_test.cpp RANKS 1 3)
fusionllm_add_test(comm/mpi_transport_test.cpp RANKS 1 2 3 4 5
  LIBS GTest::gmock TIMEOUT 180)
fusionllm_add_test(comm/probe_test.cpp)
fusionllm_add_test(comm/link_rate_test.cpp)
fusionllm_add_test(comm/rank_stall_test.cpp)
fusionllm_add_test(comm/rank_table_test.cpp RANKS 1 3)
fusionllm_add_test(comm/shaped_transport_test.cpp)
fusionllm_add_test(comm/wait_test.cpp)

# Signals end processes, so these tests look at a program from outside.
add_executable(watchman_program ${CMAKE_CURRENT_LIST_DIR}/watchman_program.cpp)
target_link_libraries(watchman_program PRIVATE fusionllm_comm)
target_compile_options(watchman_program PRIVATE -Wall -Wextra -Werror)

function(add_watchman_test mode ranks status deaths)
  add_test(NAME comm/watchman_${mode}/${ranks}
    COMMAND ${CMAKE_COMMAND}
      "-DLAUNCH=${MPIEXEC_EXECUTABLE};${MPIEXEC_NUMPROC_FLAG};${ranks};--oversubscribe;--bind-to;none"
      -DPROGRAM=$<TARGET_FILE:watchman_program>
      -DMODE=${mode} -DSTATUS=${status} -DDEATHS=${deaths}
      -P ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/watchman_test.cmake)
  set_tests_properties(comm/watchman_${mode}/${ranks} PROPERTIES
    LABELS mpi TIMEOUT 30 PROCESSORS ${ranks}
    ENVIRONMENT "OMPI_ALLOW_RUN_AS_ROOT=1;OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1")
endfunction()

add_watchman_test(die 2 137 1)
add_watchman_test(die 5 137 1)
add_watchman_test(leave 3 3 0)
add_watchman_test(terminate 3 4 0)
add_watchman_test(requeue 3 75 0)
add_watchman_test(interrupt 3 130 0)
add_watchman_test(stall 3 5 0)
