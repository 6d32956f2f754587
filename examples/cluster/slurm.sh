#!/bin/bash
# ilf on Slurm: a Ray cluster of the job's nodes, the run on the first of them. Submit with
#
#   sbatch examples/cluster/slurm.sh house.toml
#
# The config, the run folder and the virtual environment lie on a disk that all nodes see. Ended by the time limit or
# by a failed node, the job is put back and goes on where it stopped: each step's finished batches are on the disk.
#SBATCH --job-name=ilf
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=32
#SBATCH --mem=0
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --signal=B:TERM@120
set -euo pipefail

config=${1:?usage: sbatch slurm.sh CONFIG}
source "${VENV:-.venv}/bin/activate"
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
port=${RAY_PORT:-6379}
cores=$SLURM_CPUS_PER_TASK

# Programs are verified in bubblewrap on every node: better to hear now that one of them has none.
srun ilf doctor --brief

srun --nodes=1 --ntasks=1 --nodelist="$head" \
  ray start --head --port="$port" --num-cpus="$cores" --block &
sleep 15
if [ "$SLURM_JOB_NUM_NODES" -gt 1 ]; then
  srun --nodes=$((SLURM_JOB_NUM_NODES - 1)) --ntasks=$((SLURM_JOB_NUM_NODES - 1)) --exclude="$head" \
    ray start --address="$head:$port" --num-cpus="$cores" --block &
  sleep 15
fi

# TERM comes two minutes before the limit: the run keeps everything and ends with 143, and the job is put back.
trap 'kill -TERM "$run"; wait "$run" || true; scontrol requeue "$SLURM_JOB_ID"' TERM
ilf run "$config" --set place.name=ray --set place.address="$head:$port" --set finetune.processes=4 &
run=$!
wait "$run"
