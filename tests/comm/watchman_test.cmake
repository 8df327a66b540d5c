# Start ranks that get signals and look at what comes of it:
#   cmake -DLAUNCH=... -DPROGRAM=... -DMODE=... -DSTATUS=<n> -DDEATHS=<n> -P ...
string(RANDOM LENGTH 12 job)
execute_process(
  COMMAND ${LAUNCH} ${PROGRAM} ${MODE} ${job}
  RESULT_VARIABLE status
  OUTPUT_VARIABLE output
  ERROR_VARIABLE errors
  TIMEOUT 10)
set(all "${output}\n${errors}")

# Semicolons would cut the sentence into two elements of a list.
string(REPLACE ";" "," all "${all}")
set(sentence "rank [0-9]+ \\(pid [0-9]+, host [^)]*\\) died in step 12 while F3\
 of stage [0-9]+, continue with --resume from the last checkpoint")
string(REGEX MATCHALL "${sentence}" found "${all}")
list(LENGTH found deaths)

if(NOT status STREQUAL STATUS)
  message(FATAL_ERROR "exit status ${status}, not ${STATUS}:\n${all}")
endif()
if(NOT deaths EQUAL DEATHS)
  message(FATAL_ERROR "${deaths} sentences about deaths, not ${DEATHS}:\n${all}")
endif()
if(all MATCHES "nobody ended the wait")
  message(FATAL_ERROR "a rank was not ended:\n${all}")
endif()

# After 0.5 s; again 1 s later, when the rank may have come.
string(REGEX MATCHALL "fusionllm: rank 0 waits [0-9.]+ m?s in the checkpoint of\
 step 13 for rank 2, which is at F3 of step 12" stalls "${all}")
list(LENGTH stalls num_stalls)
if(MODE STREQUAL "stall" AND (num_stalls LESS 1 OR num_stalls GREATER 2))
  message(FATAL_ERROR "said ${num_stalls} times who is missing:\n${all}")
endif()

file(GLOB left /dev/shm/fusionllm-${job}-* /tmp/fusionllm-${job}-*)
if(left)
  message(FATAL_ERROR "files stay behind: ${left}")
endif()
