#!/usr/bin/env bash
# ImageNet-1K, and its 1.28 million images as as many classes, from WebDataset shards to a report.
#
#   benchmarks/imagenet.sh labels  shards/train shards/val runs/imagenet
#   benchmarks/imagenet.sh samples shards/train -          runs/imagenet-instances
#
# Give the folders of .tar files with jpg and cls of every image. The settings are in imagenet-labels.yaml and
# imagenet-samples.yaml, for one large GPU; MORE holds further options of `rootspace train`, SIZE the side of the images.
# Several GPUs: LAUNCH="torchrun --nproc-per-node 8".
set -euo pipefail
what=$1 train=$2 test=$3 output=$4

build() { # decoded once; what is there already is used again
    [ -d "$2" ] || rootspace data build "$1" --output "$2" --size "${SIZE:-64}" --channels 3 --fit crop
}
build "$train" "$output-data/train"
options=(--config "$(dirname "$0")/imagenet-$what.yaml" --output "$output")
if [ "$what" = labels ]; then
    build "$test" "$output-data/test"
    options+=(--test "$output-data/test")
fi
# shellcheck disable=SC2086
${LAUNCH:-python} -m rootspace.cli train "$output-data/train" "${options[@]}" ${MORE:-}
