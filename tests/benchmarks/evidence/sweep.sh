#!/bin/sh
# The tables of docs/evidence.md: sweep.sh digits_few 0,1,2,3,4
# Every method, FFKD taken apart, its controls, and what labels and plain distillation make of the same time.
set -eu
cd "$(dirname "$0")"
recipe=$1
seeds=$2
shift 2
edgekd sweep "$recipe.yaml" --jobs 2 --baseline kd --matched label,kd --vary "seed=$seeds" \
  --vary distill.method=label,kd,dkd,lskd,dist,channel,sld \
  --arm "sld, no swap: distill.method=sld distill.swap=false" \
  --arm "kd + channel as ffkd weighs them: distill.method=ffkd distill.feedback_every=0 distill.cka=off" \
  --arm "+ CKA weights = ffkd forward: distill.method=ffkd distill.feedback_every=0" \
  --arm "+ feedback, w 1, no gates: distill.method=ffkd distill.feedback_weighting=none distill.feedback_block_gate=false distill.feedback_conflict_gate=false" \
  --arm "+ w and block gate: distill.method=ffkd distill.feedback_conflict_gate=false" \
  --arm "+ conflict gate = ffkd: distill.method=ffkd" \
  --arm "ffkd, best of 2 students: distill.method=ffkd distill.students=2" \
  --arm "control a, labels alone teach the teacher: distill.method=ffkd distill.feedback_kd_weight=0 distill.feedback_channel_weight=0" \
  --arm "control b, CKA of other blocks: distill.method=ffkd distill.cka=shuffled" \
  --arm "control c, teacher's head alone learns: distill.method=ffkd distill.feedback_tunes=head" \
  --arm "ffkd-adapt: distill.method=ffkd-adapt" \
  --arm "ffkd-public: distill.method=ffkd-public" \
  "$@"
