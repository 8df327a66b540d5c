#pragma once

namespace fusionllm {

//! Parse, run the command, print what went wrong; returns the exit status:
//! 0, 1 (failed), 2 (bad input), 75 (stopped on request, requeue me).
int run_command_line(int argc, char** argv);

}  // namespace fusionllm
