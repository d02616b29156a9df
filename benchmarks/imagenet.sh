#!/usr/bin/env bash
# ImageNet-1K, and its 1.28 million images as as many classes, from WebDataset shards to a report.
#
#   benchmarks/imagenet.sh labels  shards/train shards/val runs/imagenet
#   benchmarks/imagenet.sh samples shards/train -          runs/imagenet-instances
#
# Give the folders of .tar files with jpg and cls of every image. Several GPUs: LAUNCH="torchrun --nproc-per-node 8".
# SIZE, EPOCHS, BATCH and MORE (further options of `rootspace train`) may be set; the defaults are for one large GPU.
set -euo pipefail
what=$1 train=$2 test=$3 output=$4
size=${SIZE:-64}

build() { # decoded once; what is there already is used again
    [ -d "$2" ] || rootspace data build "$1" --output "$2" --size "$size" --channels 3 --fit crop
}
build "$train" "$output-data/train"
options=(--epochs "${EPOCHS:-40}" --batch-size "${BATCH:-1024}" --learning-rate "${RATE:-6e-3}" --width "${WIDTH:-128}")
if [ "$what" = labels ]; then
    build "$test" "$output-data/test"
    options+=(--test "$output-data/test")
else
    # the paper's kind of run, with vectors from a key alone: nothing is stored for a class
    options+=(--classes-from samples --system V22:128 --assignment shuffled --loss system --follow 0)
fi
# shellcheck disable=SC2086
${LAUNCH:-python} -m rootspace.cli train "$output-data/train" --output "$output" "${options[@]}" ${MORE:-}
