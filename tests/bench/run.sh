#!/usr/bin/env bash
# Runs the three workloads of a benchmark directory through the daemon, release build, one task each, and prints what it
# took beside the floors.
#
#   BENCH_HOME=/path/to/bench tests/bench/run.sh [--scale 0.1] [--workload narrow|wide|nested|all] [--reps 3] [--no-floors]
#
# BENCH_HOME holds gen.sh (makes the pages), server/start.sh and stop.sh (nginx on loopback), run-peers.sh (the floors).
# BENCH_BIN measures the programs in that directory instead of building them.
# JOURNAL=1 runs each workload once more with a page journal that starts as early as it can (replay_limit 1s), to show its price.
set -euo pipefail
cd "$(dirname "$0")/../.."
: "${BENCH_HOME:?set BENCH_HOME to the benchmark directory}"
scale=0.1 workloads=all reps=1 floors=1
while [ $# -gt 0 ]; do
  case $1 in
    --scale) scale=$2; shift 2 ;;
    --workload) workloads=$2; shift 2 ;;
    --reps) reps=$2; shift 2 ;;
    --no-floors) floors=; shift ;;
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
"$BENCH_HOME/server/start.sh" --scale "$scale" --port "$BENCH_PORT" --ttl 7200 >&2

: >"$dir/auth.env"
chmod 600 "$dir/auth.env"

configure() { # configure REPLAY_LIMIT
  cat >"$dir/config.yaml" <<YAML
version: 1
daemon: { state_dir: $dir/state, socket: $dir/control.sock, replay_limit: $1 }
sources:
  bench:
    rest:
      base_url: http://127.0.0.1:$BENCH_PORT/v1
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
          paginate: { link: {} }
destinations:
  lake: { local: { root: $dir/lake } }
exports:
  narrow: { source: bench, streams: [narrow], to: [lake], format: { parquet: { compression: zstd } } }
  wide: { source: bench, streams: [wide], to: [lake], format: { parquet: { compression: zstd } } }
  nested: { source: bench, streams: [nested], to: [lake], format: { parquet: { compression: zstd } } }
YAML
}

# One run in a daemon of its own: prints seconds, CPU seconds, peak MB, records, MB written.
run() { # run WORKLOAD
  rm -rf "$dir/state" "$dir/lake"
  find "$BENCH_SCRATCH/data/s$scale/$1" -name '*.json' -print0 | xargs -0 cat >/dev/null
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

row() { # row NAME WORKLOAD: the median by wall time of `reps` runs, as a line of the table
  local results=
  for _ in $(seq "$reps"); do results+=$(run "$2")$'\n'; done
  python3 - "$1" "$BENCH_SCRATCH/data/s$scale/$2.meta.json" "$results" <<'PY'
import json, sys
name, meta, text = sys.argv[1:]
meta = json.load(open(meta))
runs = sorted([float(x) for x in line.split()] for line in text.splitlines() if line.strip())
wall, cpu, peak, rows, out = runs[len(runs) // 2]
assert rows == meta["records"], f"{rows} records of {meta['records']}"
mb = meta["json_bytes"] / 1e6
print(f"| {name} | {wall:.2f} | {cpu:.2f} | {rows / wall:,.0f} | {mb / wall:,.0f} | {peak:,.0f} | {out:,.1f} |")
PY
}

for workload in $workloads; do
  printf '\n### %s, scale %s\n\n| what | wall s | cpu s | records/s | JSON MB/s | peak MB | out MB |\n|---|---:|---:|---:|---:|---:|---:|\n' "$workload" "$scale"
  configure 10s
  row "saas-export-daemon" "$workload"
  if [ -n "${JOURNAL:-}" ]; then
    configure 1s
    row "saas-export-daemon, early journal" "$workload"
  fi
  if [ -n "$floors" ]; then
    "$BENCH_HOME/server/stop.sh" --port "$BENCH_PORT" >/dev/null 2>&1 || true
    # Their own table has more columns; here the ones above: peer, wall, cpu, records/s, JSON MB/s, peak RSS, out.
    "$BENCH_HOME/run-peers.sh" --workload "$workload" --scale "$scale" --reps "$reps" --no-verify \
      --peers net-1,floor-file-1t,floor-http-1t 2>/dev/null |
      awk -F' *\\| *' '/^\| (net|floor)-/ { printf "| %s | %s | %s | %s | %s | %s | %s |\n", $2, $4, $5, $6, $7, $8, $11 }' || true
    "$BENCH_HOME/server/start.sh" --scale "$scale" --port "$BENCH_PORT" --ttl 7200 >&2
  fi
done
