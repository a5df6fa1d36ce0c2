#!/usr/bin/env bash
# The figures of docs/performance.md, one script after the other: an hour on a quiet machine. Fails at the end where a stage takes
# more instructions than stages.txt says.
#
#   BENCH_HOME=/path/to/bench tests/bench/all.sh [--reps 5]     runs of narrow and nested records each; wide ones have three
#
# BENCH_BIN measures the programs in that directory (saas-export-daemon, exportctl, sample-api) instead of building them.
set -euo pipefail
cd "$(dirname "$0")/../.."
: "${BENCH_HOME:?set BENCH_HOME to the benchmark directory}"
command -v valgrind >/dev/null || { echo "valgrind is missing" >&2; exit 2; }
reps=5
while [ $# -gt 0 ]; do
  case $1 in
    --reps) reps=$2; shift 2 ;;
    *) echo "unknown option $1" >&2; exit 2 ;;
  esac
done
if [ -z "${BENCH_BIN:-}" ]; then
  cargo build --locked --release --workspace --bins
  BENCH_BIN=$(cargo metadata --locked --format-version 1 --no-deps | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')/release
fi
export BENCH_BIN

formats="parquet ndjson csv avro"
floors=net-1,floor-file-1t,floor-file-1t-generic,floor-http-1t,duckdb-files
peers=$floors,net-16,floor-http-2t,duckdb-http,polars-files,dlt-default,dlt-tuned,dlt-arrow,airbyte,singer
for workload in narrow nested; do
  tests/bench/run.sh --scale 1 --workload "$workload" --reps "$reps" --formats "$formats" --peers "$floors"
done
tests/bench/run.sh --scale 1 --workload wide --reps 3 --formats parquet --peers "$floors"
tests/bench/run.sh --scale 1 --latency 50
# A tenth of the records, because some peers take minutes for them.
tests/bench/run.sh --scale 0.1 --formats "$formats" --peers "$peers"
tests/bench/answers.sh
tests/bench/curve.sh
tests/bench/stages.sh
