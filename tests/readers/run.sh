#!/usr/bin/env bash
# Reads exports of the sample API in every format, compression and layout with programs that nobody here wrote: DuckDB,
# pyarrow, Polars, fastavro, parquet-cli, gzip, zstd, sha256sum. Every value is compared with what the API says.
#
#   tests/readers/run.sh [RECORDS]      1,500 unless given
#
# The readers come from PyPI, into a directory beside the programs (READERS_CACHE says another one).
# shellcheck source-path=SCRIPTDIR source=../real/lib.sh
bin=${SAAS_EXPORT_BIN_DIR:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)/target/debug}
REAL_CACHE=${READERS_CACHE:-$(dirname "$bin")/readers}
. "$(dirname "${BASH_SOURCE[0]}")/../real/lib.sh"
me=readers
begin 300 "$@"
records=${1:-1500}

# ---- install
venv all --only-binary :all: duckdb pyarrow polars fastavro cramjam backports.zstd pytz parquet-cli ||
  skip "DuckDB, pyarrow, Polars, fastavro and parquet-cli cannot be installed here"
say "has its readers"

# ---- the API, and its truth
"$bin/sample-api" --records "$records" --page-size 200 --cache-mb 16 >"$dir/api.log" 2>&1 &
pids+=($!)
wait_for 30 grep -q '^listening on ' "$dir/api.log"
api=$(sed -n 's/^listening on //p' "$dir/api.log")
curl -sf --max-time 60 -o "$dir/truth.json" "$api/v2/all/orders"

# ---- an export for each format, compression and layout
{
  cat <<YAML
version: 1
daemon: { state_dir: $dir/state, socket: $dir/control.sock }
sources:
  app:
    rest:
      base_url: $api/v2
      streams:
        orders:
          path: /orders
          records: \$.data[*]
          primary_key: [id]
          types: { amount: "decimal(12,2)" }
          paginate: { cursor: { from: \$.next_cursor, param: cursor } }
destinations:
  lake: { local: { root: $dir/lake } }
exports:
YAML
  for format in parquet:none,snappy,gzip,zstd avro:none,deflate,snappy,zstd {csv,ndjson,json}:none,gzip,zstd; do
    for compression in $(tr , ' ' <<<"${format#*:}"); do
      for layout in parts single; do
        printf '  %s-%s-%s: { source: app, to: [lake], layout: %s, chunk_size: 64kB, format: { %s: { compression: %s } } }\n' \
          "${format%:*}" "$compression" "$layout" "$layout" "${format%:*}" "$compression"
      done
    done
  done
} >"$dir/config.yaml"
(umask 077 && : >"$dir/auth.env")
start_daemon
jobs=$(sed -n 's/^  \([a-z]*-[a-z]*-[a-z]*\):.*/\1/p' "$dir/config.yaml")
for job in $jobs; do
  ctl run "$job" --wait >"$dir/run.log" 2>&1 || { cat "$dir/run.log"; tail -n 30 "$dir/daemon.log"; die "$job failed"; }
  (cd "$dir/lake/$job/orders/"*/ && sha256sum --check --strict --quiet SHA256SUMS) || die "sha256sum: $job"
done
say "exported $(wc -w <<<"$jobs") times $records records; sha256sum agrees"

# ---- read
"$venv/bin/python" "$root/tests/readers/read.py" "$dir/lake" "$dir/truth.json" "$venv/bin/parq"
say "every reader gives every value"
