#!/usr/bin/env bash
# Counts the instructions of each stage of the fast path, per record, and compares them with those that `stages.txt` has.
#
#   tests/bench/stages.sh [--update] [STAGE [SHAPE]]
#
# Instructions do not depend on what else the machine does. Stages that encode count the conversion too. A stage that needs 3 %
# more than before has become slower, and the script fails. `--update` writes the file, which is kept beside this one. Needs
# valgrind. The nanoseconds of the same stages, without it: cargo bench --bench stages
set -euo pipefail
cd "$(dirname "$0")/../.."
update=
[ "${1:-}" != --update ] || { update=1; shift; }
only_stage=${1:-} only_shape=${2:-}
known=tests/bench/stages.txt
command -v valgrind >/dev/null || { echo "valgrind is missing" >&2; exit 2; }
program=${STAGES_BIN:-$(cargo bench --locked --bench stages --no-run --message-format json | sed -n 's/.*"executable":"\([^"]*stages[^"]*\)".*/\1/p' | tail -n 1)}

count() { # count STAGE SHAPE ROUNDS: instructions
  valgrind --tool=callgrind --callgrind-out-file=/dev/null "$program" "$@" 2>&1 >/dev/null | sed -n 's/.*Collected : *//p'
}

records() { case $1 in narrow) echo 40000 ;; wide) echo 1000 ;; nested) echo 10000 ;; esac; }

failed=
found=$(mktemp)
trap 'rm -f "$found"' EXIT
printf '%-10s %-8s %14s %14s %8s\n' stage shape instructions before change
for stage in locate infer columns eager flat lines parquet avro csv ndjson digest; do
  [ -z "$only_stage" ] || [ "$only_stage" = "$stage" ] || continue
  for shape in narrow wide nested; do
    [ -z "$only_shape" ] || [ "$only_shape" = "$shape" ] || continue
    # Two rounds less one: what a round takes, without the making of the pages.
    one=$(count "$stage" "$shape" 1) two=$(count "$stage" "$shape" 2)
    now=$(((two - one) / $(records "$shape")))
    before=$(awk -v s="$stage" -v h="$shape" '$1 == s && $2 == h { print $3 }' "$known" 2>/dev/null || true)
    change=-
    if [ -n "$before" ]; then
      change=$(awk -v n="$now" -v b="$before" 'BEGIN { printf "%+.1f%%", (n - b) * 100 / b }')
      awk -v n="$now" -v b="$before" 'BEGIN { exit !(n > b * 1.03) }' && failed="$failed $stage/$shape"
    fi
    printf '%-10s %-8s %14s %14s %8s\n' "$stage" "$shape" "$now" "${before:--}" "$change"
    echo "$stage $shape $now" >>"$found"
  done
done
if [ -n "$update" ] && [ -z "$only_stage" ]; then
  cp "$found" "$known"
elif [ -n "$failed" ]; then
  echo "slower than $known says:$failed" >&2
  exit 1
fi
