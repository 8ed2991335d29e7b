#!/bin/sh
# The tables of a teacher from elsewhere in docs/evidence.md: elsewhere.sh pairs 15 60 0,1,2,3,4
# It was trained on clean, upright pictures; the student's are others, and few: so many a class, for so many epochs.
set -eu
cd "$(dirname "$0")"
pictures=$1
images=$2
epochs=$3
seeds=$4
shift 4
edgekd pipeline pairs.yaml --until teacher --run-dir runs/elsewhere --set data.path=pairs_clean --set data.train_per_class=200
edgekd sweep pairs.yaml --jobs 2 --baseline kd --matched label,kd --vary "seed=$seeds" \
  --set "data.path=$pictures" --set "data.train_per_class=$images" --set "distill.epochs=$epochs" \
  --set teacher.weights=runs/elsewhere/teacher/teacher.safetensors --set teacher.epochs=0 \
  --vary distill.method=label,kd,sld \
  --arm "kd, teacher tuned first: distill.method=kd teacher.epochs=20 teacher.learning_rate=0.01" \
  --arm "ffkd forward: distill.method=ffkd distill.feedback_every=0" \
  --arm "ffkd: distill.method=ffkd" \
  --arm "ffkd from 15 %: distill.method=ffkd distill.feedback_start=0.15" \
  --arm "ffkd, teacher's head alone learns: distill.method=ffkd distill.feedback_tunes=head" \
  --arm "ffkd-adapt: distill.method=ffkd-adapt" \
  "$@"
