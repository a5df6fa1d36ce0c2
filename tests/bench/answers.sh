#!/usr/bin/env bash
# How fast the daemon is ready and answers, release build: with an empty ledger, with many tasks in it, and while exports run.
#
#   tests/bench/answers.sh [--tasks 100000] [--asks 1000] [--reps 5]
#
# BENCH_BIN measures the programs in that directory (saas-export-daemon, exportctl, sample-api) instead of building them.
set -euo pipefail
cd "$(dirname "$0")/../.."
tasks=100000 asks=1000 reps=5
while [ $# -gt 0 ]; do
  case $1 in
    --tasks) tasks=$2; shift 2 ;;
    --asks) asks=$2; shift 2 ;;
    --reps) reps=$2; shift 2 ;;
    *) echo "unknown option $1" >&2; exit 2 ;;
  esac
done
bin=${BENCH_BIN:-}
if [ -z "$bin" ]; then
  cargo build --locked --release --workspace --bins
  bin=$(cargo metadata --locked --format-version 1 --no-deps | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')/release
fi

dir=$(mktemp -d) daemon='' sample=''
stop() {
  [ -z "$daemon" ] || kill "$daemon" 2>/dev/null || true
  [ -z "$sample" ] || kill "$sample" 2>/dev/null || true
  wait 2>/dev/null || true
  rm -rf "$dir"
}
trap stop EXIT
trap 'exit 143' TERM INT

[ -x "$bin/sample-api" ] || { echo "there is no sample-api in $bin" >&2; exit 2; }
"$bin/sample-api" --records 30000000 >"$dir/sample" &
sample=$!
for _ in $(seq 100); do grep -q listening "$dir/sample" && break; sleep 0.05; done
origin=$(sed -n 's/^listening on //p' "$dir/sample")
: >"$dir/auth.env"
chmod 600 "$dir/auth.env"
cat >"$dir/config.yaml" <<YAML
version: 1
daemon: { state_dir: $dir/state, socket: $dir/control.sock }
sources:
  shop:
    rest:
      base_url: $origin/v2
      streams:
        orders:
          path: /orders
          records: \$.data[*]
          primary_key: [id]
          paginate: { cursor: { from: \$.next_cursor, param: cursor } }
destinations:
  lake: { local: { root: $dir/lake } }
exports:
  few: { source: shop, streams: [orders], to: [lake], limits: { max_rows: 1000 } }
  one: { source: shop, streams: [orders], to: [lake] }
  two: { source: shop, streams: [orders], to: [lake] }
  three: { source: shop, streams: [orders], to: [lake] }
YAML

start() { # starts the daemon, and notes the milliseconds until it says that it is ready
  local began
  began=$(date +%s%N)
  "$bin/saas-export-daemon" --config "$dir/config.yaml" --auth-env "$dir/auth.env" 2>"$dir/log" &
  daemon=$!
  for _ in $(seq 2000); do grep -q ' is ready' "$dir/log" && break; sleep 0.01; done
  python3 - "$began" "$dir/log" <<'PY' >>"$dir/started"
import datetime, re, sys
line = next(line for line in open(sys.argv[2]) if line.rstrip().endswith("is ready"))
at = datetime.datetime.fromisoformat(re.search(r"\d{4}-\S+Z", line)[0].replace("Z", "+00:00"))
epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
print(((at - epoch) // datetime.timedelta(microseconds=1)) / 1e3 - int(sys.argv[1]) / 1e6)
PY
}

halt() {
  kill "$daemon"
  wait "$daemon" || true
  daemon=
}

ctl() { "$bin/exportctl" --socket "$dir/control.sock" "$@"; }

summary() { # summary NAME FILE: of milliseconds, one a line
  python3 - "$1" "$2" <<'PY'
import sys
found = sorted(float(line) for line in open(sys.argv[2]))
at = lambda part: found[min(len(found) - 1, int(part * len(found)))]
print(f"| {sys.argv[1]} | {len(found)} | {at(.5):.2f} | {at(.99):.2f} | {found[-1]:.2f} |")
PY
}

starts() { # starts NAME
  : >"$dir/started"
  for _ in $(seq "$reps"); do
    [ -z "${anew:-}" ] || rm -rf "$dir/state"
    start
    halt
  done
  summary "$1" "$dir/started"
}

answers() { # answers NAME PATH
  # One connection after the other, as exportctl makes them; the time of the request alone.
  seq "$asks" | while read -r _; do printf 'url = "http://daemon%s"\noutput = /dev/null\nno-keepalive\n' "$2"; done >"$dir/urls"
  curl -fsS --unix-socket "$dir/control.sock" -w '%{stderr}%{time_total}\n' -K "$dir/urls" 2>"$dir/times"
  awk '{ print $1 * 1000 }' "$dir/times" >"$dir/ms"
  summary "$1" "$dir/ms"
}

programs() { # programs NAME COMMAND...: whole runs of exportctl
  local name=$1
  shift
  python3 - "$bin/exportctl" "$dir/control.sock" "$@" >"$dir/ms" <<'PY'
import subprocess, sys, time
for _ in range(50):
    began = time.perf_counter()
    subprocess.run([sys.argv[1], "--socket", sys.argv[2], *sys.argv[3:]], stdout=subprocess.DEVNULL, check=True)
    print((time.perf_counter() - began) * 1e3)
PY
  summary "$name" "$dir/ms"
}

echo "| what | times | median ms | 99 % within ms | most ms |"
echo "|---|---:|---:|---:|---:|"
anew=1 starts "start to ready, empty ledger"
start
ctl --quiet run few --wait </dev/null >/dev/null
programs "exportctl status, idle" status
halt
# The ledger with many tasks of the past: copies of that one, with all rows of it.
python3 - "$dir/state/ledger.db" "$tasks" <<'PY'
import sqlite3, sys
sql = sqlite3.connect(sys.argv[1])
sql.execute("pragma synchronous = off")
(task,) = sql.execute("select id from tasks").fetchone()
for table, key in [("tasks", "id"), ("task_streams", "task"), ("lanes", "task"), ("segments", "task"), ("deliveries", "task"),
                   ("manifests", "task"), ("chain_links", "task")]:
    of = sql.execute(f"select * from {table} where {key} = ?", (task,))
    names = [column[0] for column in of.description if column[0] != "seq"]
    rows = [[row[i] for i, column in enumerate(of.description) if column[0] != "seq"] for row in of.fetchall()]
    text = f"insert into {table} ({','.join(names)}) values ({','.join('?' * len(names))})"
    for n in range(int(sys.argv[2])):
        other = f"{task}-{n:06}"
        sql.executemany(text, [[other if value == task else value for value in row] for row in rows])
sql.commit()
sql.execute("pragma wal_checkpoint(truncate)")
PY
starts "start to ready, $tasks tasks"
start
programs "exportctl status, idle, $tasks tasks" status
for export in one two three; do ctl --quiet run "$export" </dev/null >/dev/null; done
sleep 2
programs "exportctl status, three exports running" status
for path in "/v1/status" "/v1/tasks?limit=50" "/v1/exports" "/v1/schedules" "/v1/metrics"; do
  answers "GET $path, three exports running" "$path"
done
running=$(ctl tasks --state processing --json | python3 -c 'import json, sys; print(len(json.load(sys.stdin)))')
echo
echo "exports that still ran at the end: $running"
