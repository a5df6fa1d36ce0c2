#!/usr/bin/env bash
# Time and memory over the number of records and over the number of columns, to Parquet, release build.
#
#   tests/bench/curve.sh [--records "10000 100000 1000000 10000000 30000000"] [--columns "10 30 100 300 1000 3000"] [--values 10000000]
#
# The first curve has 12 columns; the second has so many records that there are as many values in each. The server is
# tests/bench/pages.py: its records repeat, so that the files are small, and the figures compare with one another only.
# BENCH_BIN measures the programs in that directory instead of building them.
set -euo pipefail
cd "$(dirname "$0")/../.."
records="10000 100000 1000000 10000000 30000000" columns="10 30 100 300 1000 3000" values=10000000
while [ $# -gt 0 ]; do
  case $1 in
    --records) records=$2; shift 2 ;;
    --columns) columns=$2; shift 2 ;;
    --values) values=$2; shift 2 ;;
    *) echo "unknown option $1" >&2; exit 2 ;;
  esac
done
bin=${BENCH_BIN:-}
if [ -z "$bin" ]; then
  cargo build --locked --release --workspace --bins
  bin=$(cargo metadata --locked --format-version 1 --no-deps | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')/release
fi

dir=$(mktemp -d) daemon='' server=''
stop() {
  [ -z "$daemon" ] || kill "$daemon" 2>/dev/null || true
  [ -z "$server" ] || kill "$server" 2>/dev/null || true
  wait 2>/dev/null || true
}
trap 'stop; rm -rf "$dir"' EXIT
trap 'exit 143' TERM INT
: >"$dir/auth.env"
chmod 600 "$dir/auth.env"

measure() { # measure RECORDS COLUMNS: a line of the table
  rm -rf "$dir/state" "$dir/lake" "$dir/port"
  python3 tests/bench/pages.py "$1" "$2" >"$dir/port" &
  server=$!
  for _ in $(seq 200); do [ -s "$dir/port" ] && break; sleep 0.05; done
  cat >"$dir/config.yaml" <<YAML
version: 1
daemon: { state_dir: $dir/state, socket: $dir/control.sock }
sources:
  made:
    rest:
      base_url: http://127.0.0.1:$(cat "$dir/port")
      rate: { per_second: 100000 }
      streams:
        records:
          path: /records
          records: \$.data[*]
          total: \$.total
          paginate: { page: { param: page, start: 1, end_status: [404] } }
destinations:
  lake: { local: { root: $dir/lake } }
exports:
  all: { source: made, streams: [records], to: [lake], format: { parquet: { compression: zstd } } }
YAML
  "$bin/saas-export-daemon" --config "$dir/config.yaml" --auth-env "$dir/auth.env" 2>"$dir/log" &
  daemon=$!
  "$bin/exportctl" --socket "$dir/control.sock" waitready --timeout 20s >/dev/null
  python3 - "$bin/exportctl" "$dir/control.sock" "$daemon" "$1" "$2" <<'PY'
import json, os, subprocess, sys, time
ctl, socket, pid, records, columns = sys.argv[1:]
began = time.perf_counter()
subprocess.run([ctl, "--socket", socket, "--quiet", "run", "all", "--wait"], check=True, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
wall = time.perf_counter() - began
files = json.loads(subprocess.check_output([ctl, "--socket", socket, "files", "all", "--latest", "--json"]))["files"]
rows = sum(file["rows"] for file in files)
assert rows == int(records), f"{rows} records of {records}"
fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
cpu = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
peak = next(int(line.split()[1]) for line in open(f"/proc/{pid}/status") if line.startswith("VmHWM:")) / 1e3
values = rows * int(columns)
print(f"| {rows:,} | {columns} | {wall:.2f} | {cpu:.2f} | {cpu * 1e9 / values:.0f} | {peak:.0f} |")
PY
  stop
  daemon='' server=''
}

echo "| records | columns | wall s | cpu s | cpu ns a value | peak MB |"
echo "|---:|---:|---:|---:|---:|---:|"
for count in $records; do measure "$count" 12; done
for count in $columns; do measure $((values / count)) "$count"; done
