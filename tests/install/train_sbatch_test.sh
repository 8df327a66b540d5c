#!/usr/bin/env bash
# jobs/train.sbatch passes USR1 on, asks to be requeued on status 75, resumes
# when there is a checkpoint or Slurm has requeued it, and otherwise ends with
# the program's status.
# Slurm, mpirun and the program are made up.
set -euo pipefail

script=$1
work=$(mktemp -d "${TMPDIR:-/tmp}/fusionllm-sbatch.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir "$work/bin"

cat >"$work/bin/fusionllm" <<'END'
#!/usr/bin/env bash
echo "arguments: $*|" >&2
[ -z "${STATUS:-}" ] || exit "$STATUS"
trap 'exit 75' USR1
mkfifo "$PIPE"
exec 3<>"$PIPE"
kill -USR1 "$SCRIPT_PID"  # as Slurm does before the time limit
while :; do read -r -t 1 <&3 || :; done
END
# Sourced by bash before the script: tells the program who Slurm would signal.
cat >"$work/pid.sh" <<'END'
export SCRIPT_PID=${SCRIPT_PID:-$$}
END
cat >"$work/bin/mpirun" <<'END'
#!/usr/bin/env bash
exec "$@"
END
cat >"$work/bin/scontrol" <<'END'
#!/usr/bin/env bash
echo "scontrol $*" >&2
kill "$PPID"  # as Slurm does to a job that it requeues
END
chmod +x "$work"/bin/*

run_script() {
    rm -f "$work/pipe"
    env -u SCRIPT_PID -u SLURM_RESTART_COUNT \
        ${RESTARTS:+SLURM_RESTART_COUNT=$RESTARTS} \
        PATH="$work/bin:$PATH" BASH_ENV="$work/pid.sh" \
        PIPE="$work/pipe" SLURM_SUBMIT_DIR="$work" SLURM_JOB_NAME=name \
        SLURM_JOB_ID=7 SLURM_JOB_NODELIST=here \
        bash "$script" "$@" >"$work/log" 2>&1
}

expect() {
    local want_status=$1 want_text=$2 status=0
    shift 2
    "$@" || status=$?
    if [ "$status" -ne "$want_status" ] ||
        ! grep -qF -e "$want_text" "$work/log"; then
        echo "FAILED: status $status, not $want_status, or no" \
            "'$want_text' in:" >&2
        cat "$work/log" >&2
        exit 1
    fi
}

expect 2 "usage" run_script
STATUS=2 expect 2 "train in.toml --output $work/runs/name-7 --set a=1" \
    run_script in.toml --set a=1
STATUS=0 expect 0 "ended with status 0" run_script in.toml
expect 143 "scontrol requeue 7" run_script in.toml

# What a run leaves that has no checkpoint yet; of another run it is refused by
# the program, so a first start must not ask to resume.
mkdir -p "$work/runs/name-7/checkpoints"
touch "$work/runs/name-7/input.toml" "$work/runs/name-7/metrics.jsonl"
own="train in.toml --output $work/runs/name-7"
STATUS=2 expect 2 "$own|" run_script in.toml
RESTARTS=0 STATUS=2 expect 2 "$own|" run_script in.toml
RESTARTS=1 STATUS=0 expect 0 "$own --resume|" run_script in.toml
STATUS=0 expect 0 "$own --overwrite|" run_script in.toml --overwrite
RESTARTS=1 STATUS=0 expect 0 "$own --resume --set a=1|" \
    run_script in.toml --overwrite --set a=1

mkdir -p "$work/runs/name-7/checkpoints/step-10"
expect 143 "--output $work/runs/name-7 --resume" run_script in.toml
STATUS=0 expect 0 "$own --overwrite|" run_script in.toml --overwrite
