#!/usr/bin/env bash
# One experiment on whole nodes of a Slurm cluster:
#     sbatch --nodes=2 --gpus-per-node=8 --time=8:00:00 cluster/slurm.sh tune architecture --profile nodes-sweep
# Ray starts on all nodes and ends with the job. $RAYBRAIN_HOME must be on a disk that all nodes share, and $RAYBRAIN_VENV
# an environment there that has raybrain. A sweep stops in time for the job's limit, and five minutes before it Slurm ends what
# still runs; the same command goes on.
#SBATCH --job-name=raybrain
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --time=8:00:00
#SBATCH --signal=B:USR1@300
#SBATCH --output=raybrain-%j.log
set -euo pipefail

: "${RAYBRAIN_HOME:?type export RAYBRAIN_HOME=DIR, on a disk that all nodes share}"
: "${RAYBRAIN_VENV:?type export RAYBRAIN_VENV=DIR, an environment with raybrain on a disk that all nodes share}"
: "${1:?type what raybrain is to do, like: sbatch cluster/slurm.sh tune quickstart}"
export RAYBRAIN_HOME
export PATH=$RAYBRAIN_VENV/bin:$PATH
export TMPDIR=/tmp # names of sockets may have 107 characters

# nobody else on the network may use this cluster: a token for this job alone
token=$RAYBRAIN_HOME/.slurm-$SLURM_JOB_ID.token
running=$RAYBRAIN_HOME/.slurm-$SLURM_JOB_ID.pid
trap 'rm -f "$token" "$running"' EXIT
(umask 077 && python -c 'import secrets; print(secrets.token_hex(32), end="")' >"$token")
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=$token

# two jobs on one head node would need two ports
port=$((20000 + SLURM_JOB_ID % 20000))
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)

limit=()
if [[ $1 == tune && " $* " != *" --time-budget"* && -n ${SLURM_JOB_END_TIME:-} ]]; then
    left=$((SLURM_JOB_END_TIME - $(date +%s) - 900)) # a quarter of an hour for the start and the last epoch
    if ((left > 0)); then limit=(--time-budget "${left}s"); fi
fi

export RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT=300
# the command runs on this node, the first one; Ray must live until it has ended its trials
trap 'if [[ -s $running ]]; then kill -TERM "$(cat "$running")"; fi' USR1 TERM
# shellcheck disable=SC2016 # the inner shell fills in
srun --nodes="$SLURM_JOB_NUM_NODES" --ntasks="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 \
    ray symmetric-run --address "$head:$port" --min-nodes "$SLURM_JOB_NUM_NODES" \
    --resources='{"trial": 64}' \
    -- bash -c 'echo $$ >"$0" && exec "$@"' "$running" raybrain "$@" "${limit[@]}" --address "$head:$port" &
job=$! code=0
wait "$job" || code=$?
while kill -0 "$job" 2>/dev/null; do # a signal has ended the waiting, not the job
    code=0
    wait "$job" || code=$?
done
exit "$code"
