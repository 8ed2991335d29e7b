#!/bin/sh
# The table of a teacher from elsewhere in docs/evidence.md: elsewhere.sh 0,1,2,3,4
# It was trained on clean, upright pictures; the student's are few, faint, turned and noisy.
set -eu
cd "$(dirname "$0")"
seeds=$1
shift
edgekd pipeline pairs.yaml --until teacher --run-dir runs/elsewhere --set data.path=pairs_clean --set data.train_per_class=200
edgekd sweep pairs.yaml --jobs 2 --baseline kd --matched label,kd --vary "seed=$seeds" \
  --set data.train_per_class=15 --set distill.epochs=60 \
  --set teacher.weights=runs/elsewhere/teacher/teacher.safetensors --set teacher.epochs=0 \
  --vary distill.method=label,kd,sld \
  --arm "kd, teacher tuned first: distill.method=kd teacher.epochs=20 teacher.learning_rate=0.01" \
  --arm "ffkd forward: distill.method=ffkd distill.feedback_every=0" \
  --arm "ffkd: distill.method=ffkd" \
  --arm "ffkd from 15 %: distill.method=ffkd distill.feedback_start=0.15" \
  --arm "ffkd, teacher's head alone learns: distill.method=ffkd distill.feedback_tunes=head" \
  --arm "ffkd-adapt: distill.method=ffkd-adapt" \
  "$@"
