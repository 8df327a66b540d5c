#!/usr/bin/env bash
# Every table and plot of docs/evaluation, by one command:
#
#   tests/bench/evaluate.sh TEXT FOLDER
#
# plans.* (some minutes), many-ranks.md (a minute of two cores a run, 60 runs), and
# convergence* (hours). TEXT is a text file such as tinyshakespeare; FOLDER keeps
# what has been run. End it when you like and start it again: what is finished,
# in FOLDER or in convergence.json of the page, is not run again.
#
#   PYTHON  a Python 3.11 or later, with matplotlib for the plots  (python3)
#   IMAGES  CIFAR-10's binary files, between spaces, for the cells that need them
#   JOBS    of convergence.py at a time; 0 writes what is there    (2)
#   DOCS    where the pages go                         (docs/evaluation)
set -euo pipefail

if [ $# -ne 2 ]; then
    sed -n 's/^# \{0,1\}//; 2,14p' "$0" >&2
    exit 2
fi
text=$(realpath "$1")
mkdir -p "$2"
folder=$(realpath "$2")
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
root=$(cd "$here/../.." && pwd -P)
docs=${DOCS:-$root/docs/evaluation}
program=$root/build/release/bin/fusionllm
python=${PYTHON:-python3}
images=()
if [ -n "${IMAGES:-}" ]; then
    read -ra files <<<"$IMAGES"
    images=(--images "${files[@]}")
fi

"$python" "$here/evaluation.py" --program "$program" --report "$docs"
"$python" "$here/many_ranks.py" --program "$program" --report "$docs" \
    --folder "$folder/many-ranks"
"$python" "$here/convergence.py" --program "$program" --report "$docs" \
    --folder "$folder/convergence" --text "$text" --jobs "${JOBS:-2}" "${images[@]}"
