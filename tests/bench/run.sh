#!/usr/bin/env bash
# Runs the workloads of a benchmark directory through the daemon, release build, one task each, and prints what it took, beside
# the floors and peers that were measured in the same run.
#
#   BENCH_HOME=/path/to/bench tests/bench/run.sh [--scale 0.1] [--workload narrow|wide|nested|all] [--formats "parquet ndjson csv avro"]
#                                                [--reps 3] [--peers net-1,floor-file-1t,floor-http-1t,duckdb-files | --no-floors]
#   BENCH_HOME=/path/to/bench tests/bench/run.sh --latency 50 [--scale 1]   nested, each answer so many ms late: 1 and 16 connections
#
# BENCH_HOME holds gen.sh (makes the pages), server/start.sh and stop.sh (nginx on loopback), run-peers.sh (the floors).
# BENCH_BIN measures the programs in that directory instead of building them.
# JOURNAL=1 runs each workload once more with a page journal that starts as early as it can (replay_limit 1s), to show its price.
set -euo pipefail
cd "$(dirname "$0")/../.."
: "${BENCH_HOME:?set BENCH_HOME to the benchmark directory}"
scale=0.1 workloads=all formats=parquet reps=1 peers=net-1,floor-file-1t,floor-http-1t latency=0
while [ $# -gt 0 ]; do
  case $1 in
    --scale) scale=$2; shift 2 ;;
    --workload) workloads=$2; shift 2 ;;
    --reps) reps=$2; shift 2 ;;
    --formats) formats=$2; shift 2 ;;
    --peers) peers=$2; shift 2 ;;
    --no-floors) peers=; shift ;;
    --latency) latency=$2 workloads=nested peers=; shift 2 ;;
    *) echo "unknown option $1" >&2; exit 2 ;;
  esac
done
[ "$workloads" != all ] || workloads="narrow wide nested"
export BENCH_PORT=${BENCH_PORT:-18080} BENCH_SCRATCH=${BENCH_SCRATCH:-/var/tmp/saas-bench}

bin=${BENCH_BIN:-}
if [ -z "$bin" ]; then
  cargo build --locked --release --package saas-export-daemon --package exportctl
  bin=$(cargo metadata --locked --format-version 1 --no-deps | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')/release
fi

dir=$(mktemp -d "$BENCH_SCRATCH/daemon-XXXXXX")
daemon=
stop() {
  [ -z "$daemon" ] || kill "$daemon" 2>/dev/null || true
  wait 2>/dev/null || true
  "$BENCH_HOME/server/stop.sh" --port "$BENCH_PORT" >/dev/null 2>&1 || true
  rm -rf "$dir"
}
trap stop EXIT
trap 'exit 143' TERM INT

for workload in $workloads; do "$BENCH_HOME/gen.sh" --scale "$scale" --workload "$workload" >&2; done
serve() { "$BENCH_HOME/server/start.sh" --scale "$scale" --port "$BENCH_PORT" --latency-ms "$latency" --ttl 7200 >&2; }
serve

: >"$dir/auth.env"
chmod 600 "$dir/auth.env"

configure() { # configure REPLAY_LIMIT CONNECTIONS
  local pages='link: {}' workload format
  # Pages that can be named are asked for side by side.
  [ "$latency" = 0 ] || pages='page: { param: page, start: 1, end_status: [404] }'
  cat >"$dir/config.yaml" <<YAML
version: 1
daemon: { state_dir: $dir/state, socket: $dir/control.sock, replay_limit: $1 }
sources:
  bench:
    rest:
      base_url: http://127.0.0.1:$BENCH_PORT/v1
      rate: { concurrency: $2 }
      streams:
        narrow:
          path: /narrow
          records: \$.data[*]
          paginate: { cursor: { from: \$.next_cursor, param: cursor } }
        wide:
          path: /wide
          records: \$.data[*]
          paginate: { cursor: { from: \$.next_cursor, param: cursor } }
        nested:
          path: /nested
          records: \$[*]
          paginate: { $pages }
destinations:
  lake: { local: { root: $dir/lake } }
exports:
YAML
  for workload in narrow wide nested; do
    for format in 'parquet: { compression: zstd }' 'ndjson: { compression: zstd, level: 1 }' 'csv: {}' \
      'avro: { compression: zstd, level: 1 }'; do
      echo "  $workload-${format%%:*}: { source: bench, streams: [$workload], to: [lake], format: { $format } }"
    done
  done >>"$dir/config.yaml"
}

# One run in a daemon of its own: prints seconds, CPU seconds, peak MB, records, MB written.
run() { # run WORKLOAD-FORMAT
  rm -rf "$dir/state" "$dir/lake"
  find "$BENCH_SCRATCH/data/s$scale/${1%-*}" -name '*.json' -print0 | xargs -0 cat >/dev/null
  "$bin/saas-export-daemon" --config "$dir/config.yaml" --auth-env "$dir/auth.env" 2>"$dir/daemon.log" &
  daemon=$!
  "$bin/exportctl" --socket "$dir/control.sock" waitready --timeout 20s >&2
  local start end
  start=$(date +%s.%N)
  "$bin/exportctl" --socket "$dir/control.sock" --quiet run "$1" --wait >/dev/null </dev/null || {
    "$bin/exportctl" --socket "$dir/control.sock" tasks >&2
    tail -n 20 "$dir/daemon.log" >&2
    return 1
  }
  end=$(date +%s.%N)
  local rows out
  rows=$("$bin/exportctl" --socket "$dir/control.sock" files "$1" --latest --json | python3 -c \
    'import json, sys; f = json.load(sys.stdin)["files"]; print(sum(x["rows"] for x in f), sum(x["bytes"] for x in f))')
  out=${rows#* } rows=${rows% *}
  python3 - "$daemon" "$start" "$end" "$rows" "$out" <<'PY'
import os, sys
pid, start, end, rows, out = sys.argv[1:]
fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
cpu = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
peak = next(int(l.split()[1]) for l in open(f"/proc/{pid}/status") if l.startswith("VmHWM:")) / 1024
print(f"{float(end) - float(start):.3f} {cpu:.2f} {peak:.0f} {rows} {int(out) / 1e6:.1f}")
PY
  kill "$daemon"
  wait "$daemon" || true
  daemon=
}

row() { # row NAME WORKLOAD-FORMAT: the median by wall time of `reps` runs, as a line of the table
  local results=
  for _ in $(seq "$reps"); do results+=$(run "$2")$'\n'; done
  python3 - "$1" "$BENCH_SCRATCH/data/s$scale/${2%-*}.meta.json" "$results" "$dir/floors" <<'PY'
import json, sys
name, meta, text, floors = sys.argv[1:]
meta = json.load(open(meta))
runs = sorted([float(x) for x in line.split()] for line in text.splitlines() if line.strip())
wall, cpu, peak, rows, out = runs[len(runs) // 2]
assert rows == meta["records"], f"{rows} records of {meta['records']}"
mb = meta["json_bytes"] / 1e6
floor = {}
try:
    for line in open(floors):
        peer, *figures = line.split("\t")
        floor[peer] = [float(figure) for figure in figures[:2]]
except FileNotFoundError:
    pass
ratio = lambda mine, peer, which: f"{mine / floor[peer][which]:.2f}" if peer in floor else "-"
print(f"| {name} | {wall:.2f} | {cpu:.2f} | {rows / wall:,.0f} | {mb / wall:,.0f} | {peak:,.0f} | {out:,.1f} "
      f"| {ratio(wall, 'floor-http-1t', 0)} | {ratio(wall, 'duckdb-files', 0)} | {ratio(cpu, 'floor-file-1t', 1)} |")
PY
}

# The peers, as lines of the same table; their wall and CPU seconds are kept for the ratios.
floors() { # floors WORKLOAD
  "$BENCH_HOME/server/stop.sh" --port "$BENCH_PORT" >/dev/null 2>&1 || true
  # Their own table has more columns: peer, what, wall, cpu, records/s, JSON MB/s, peak RSS, PSS, server CPU, out.
  "$BENCH_HOME/run-peers.sh" --workload "$1" --scale "$scale" --reps "$reps" --no-verify --peers "$peers" 2>/dev/null >"$dir/peers" || true
  awk -F' *\\| *' '$4 ~ /^[0-9]/ { gsub(",", "", $0); print $2 "\t" $4 "\t" $5 }' "$dir/peers" >"$dir/floors"
  awk -F' *\\| *' '$4 ~ /^[0-9]/ { printf "| %s | %s | %s | %s | %s | %s | %s | | | |\n", $2, $4, $5, $6, $7, $8, $11 }' "$dir/peers"
  tail -n 1 "$dir/peers" | sed 's/^/(/; s/$/)/' >"$dir/quiet"
  serve
}

for workload in $workloads; do
  printf '\n### %s, scale %s, median of %s\n\n' "$workload" "$scale" "$reps"
  printf '| what | wall s | cpu s | records/s | JSON MB/s | peak MB | out MB | wall / floor-http-1t | wall / duckdb-files | cpu / floor-file-1t |\n'
  printf '|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n'
  rm -f "$dir/floors" "$dir/quiet"
  [ -z "$peers" ] || floors "$workload"
  if [ "$latency" != 0 ]; then
    for connections in 1 16; do
      configure 10s "$connections"
      row "$latency ms late, connections: $connections" "$workload-parquet"
    done
    continue
  fi
  for format in $formats; do
    configure 10s 4
    row "saas-export-daemon, $format" "$workload-$format"
    if [ -n "${JOURNAL:-}" ]; then
      configure 1s 4
      row "saas-export-daemon, $format, early journal" "$workload-$format"
    fi
  done
  [ ! -s "$dir/quiet" ] || { echo; cat "$dir/quiet"; }
done
