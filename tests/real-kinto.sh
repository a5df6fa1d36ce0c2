#!/usr/bin/env bash
# Exports a real application that nobody here wrote (Kinto, a JSON store with PostgreSQL behind it) with the daemon, and
# compares every record with what PostgreSQL holds. Pages follow the Next-Page header, credentials are basic.
#
#   tests/real-kinto.sh [RECORDS]      25,000 unless given
#
# Kinto comes from PyPI into a virtual environment in the cache directory, PostgreSQL from the system's packages (as
# root). Everything listens on loopback, is bounded in time, and is gone at the end.
set -euo pipefail
cd "$(dirname "$0")/.."
records=${1:-25000}
if [ -z "${KINTO_BOUNDED:-}" ]; then
  KINTO_BOUNDED=1 exec timeout --kill-after=30 900 "$0" "$records"
fi

bin=${SAAS_EXPORT_BIN_DIR:-target/debug}
venv=${KINTO_VENV:-${XDG_CACHE_HOME:-$HOME/.cache}/saas-export-tests/kinto}
dir=$(mktemp -d /tmp/sxd-kinto-XXXXXX)
say() { printf '%s: %s (%d s)\n' "kinto" "$1" "$SECONDS"; }

pg=
kinto=
daemon=
stop() {
  [ -z "$daemon" ] || kill "$daemon" 2>/dev/null || true
  [ -z "$kinto" ] || kill "$kinto" 2>/dev/null || true
  [ -z "$pg" ] || as_postgres "$pg/pg_ctl" -D "$dir/pg/data" -m immediate stop >/dev/null 2>&1 || true
  wait 2>/dev/null || true
  rm -rf "$dir"
}
trap stop EXIT
trap 'exit 143' TERM INT

# initdb refuses to run as root.
as_postgres() {
  if [ "$(id -u)" = 0 ]; then
    setpriv --reuid=postgres --regid=postgres --init-groups "$@"
  else
    "$@"
  fi
}

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

wait_for() { # wait_for SECONDS COMMAND…: until the command succeeds
  local end=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$end" ] || { echo "kinto: gave up waiting for: $*" >&2; return 1; }
    sleep 0.2
  done
}

# ---- install
find_pg() { find /usr/lib/postgresql -maxdepth 3 -name initdb -printf '%h\n' 2>/dev/null | sort -V | tail -n 1; }
if [ -z "$(find_pg)" ] || ! command -v python3 >/dev/null || ! python3 -c 'import venv, ensurepip' 2>/dev/null; then
  if [ "$(id -u)" != 0 ]; then
    echo "kinto: needs PostgreSQL and python3-venv; SKIPPED (not root, cannot install them)"
    exit 0
  fi
  apt-get update -qq || true
  DEBIAN_FRONTEND=noninteractive apt-get install -yqq --no-install-recommends postgresql python3-venv curl >/dev/null
fi
if [ ! -x "$venv/bin/kinto" ]; then
  say "installing from PyPI"
  rm -rf "$venv"
  mkdir -p "$(dirname "$venv")"
  python3 -m venv "$venv"
  "$venv/bin/pip" install -q --disable-pip-version-check "kinto[postgresql]" psycopg2-binary zope.sqlalchemy "setuptools<81"
  # Reads the Parquet files back with somebody else's code; without it only NDJSON is compared.
  "$venv/bin/pip" install -q --disable-pip-version-check --only-binary :all: pyarrow || echo "kinto: no pyarrow here"
fi

# ---- start
pg=$(find_pg)
pg_port=$(free_port)
mkdir -p "$dir/pg"
chmod 755 "$dir"
[ "$(id -u)" != 0 ] || chown postgres "$dir/pg"
as_postgres "$pg/initdb" -A trust -E UTF8 -D "$dir/pg/data" >/dev/null
as_postgres "$pg/pg_ctl" -w -D "$dir/pg/data" -l "$dir/pg/log" \
  -o "-p $pg_port -k $dir/pg -h 127.0.0.1 -c fsync=off" start >/dev/null
sql() { psql -q -h 127.0.0.1 -p "$pg_port" -U postgres -v ON_ERROR_STOP=1 "$@"; }

http_port=$(free_port)
cat >"$dir/kinto.ini" <<INI
[app:main]
use = egg:kinto
kinto.storage_backend = kinto.core.storage.postgresql
kinto.storage_url = postgresql://postgres@127.0.0.1:$pg_port/postgres
kinto.cache_backend = kinto.core.cache.memory
kinto.permission_backend = kinto.core.permission.memory
kinto.includes = kinto.plugins.accounts
multiauth.policies = account
multiauth.policy.account.use = kinto.plugins.accounts.authentication.AccountsAuthenticationPolicy
kinto.account_create_principals = system.Everyone
kinto.bucket_create_principals = system.Authenticated
kinto.paginate_by = 500
kinto.userid_hmac_secret = not-a-secret
kinto.http_scheme = http
[server:main]
use = egg:waitress#main
host = 127.0.0.1
port = $http_port
threads = 4
[loggers]
keys = root
[handlers]
keys = console
[formatters]
keys = plain
[logger_root]
level = WARN
handlers = console
[handler_console]
class = StreamHandler
args = (sys.stderr,)
formatter = plain
[formatter_plain]
format = %(message)s
INI
"$venv/bin/kinto" migrate --ini "$dir/kinto.ini" >"$dir/kinto.log" 2>&1
"$venv/bin/kinto" start --ini "$dir/kinto.ini" --port "$http_port" >>"$dir/kinto.log" 2>&1 &
kinto=$!
api=http://127.0.0.1:$http_port/v1
wait_for 60 curl -sf -o /dev/null "$api/"

# ---- fill: one record through the API, the others where the application keeps them
password='p w:"ö'
json='Content-Type: application/json'
curl -sf -o /dev/null -X PUT "$api/accounts/reader" -H "$json" -d '{"data":{"password":"p w:\"ö"}}'
as_reader() { curl -sf -o /dev/null -u "reader:$password" "$@"; }
as_reader -X PUT "$api/buckets/shop"
as_reader -X PUT "$api/buckets/shop/collections/orders"
as_reader -X POST "$api/buckets/shop/collections/orders/records" -H "$json" -d '{"data":{"seq":0,"name":"through the API"}}'
sql <<SQL
INSERT INTO objects (id, parent_id, resource_name, last_modified, deleted, data)
SELECT gen_random_uuid()::text, '/buckets/shop/collections/orders', 'record',
  date_trunc('milliseconds', now()::timestamp) - interval '1 day' + i * interval '1 millisecond', false,
  jsonb_build_object('seq', i, 'name', 'customer ' || i || ' "ünïcode"' || E'\n', 'amount', i * 1.1, 'vip', i % 3 = 0,
    'note', CASE WHEN i % 5 = 0 THEN NULL ELSE repeat('x', i % 90) END,
    'nested', jsonb_build_object('tags', jsonb_build_array('a', 'b,' || i), 'flag', i % 2 = 0))
FROM generate_series(1, $records - 1) i;
SQL
say "serves $records records"

# ---- export
(
  umask 077
  printf 'KINTO_USER=reader\nKINTO_PASSWORD="%s"\n' "${password//\"/\\\"}" >"$dir/auth.env"
)
cat >"$dir/config.yaml" <<YAML
version: 1
daemon:
  state_dir: $dir/state
  socket: $dir/control.sock
sources:
  kinto:
    rest:
      base_url: $api
      auth: { basic: { username: "\${KINTO_USER}", password: "\${KINTO_PASSWORD}" } }
      streams:
        orders:
          path: /buckets/shop/collections/orders/records
          query: { _limit: "500" }
          records: \$.data[*]
          primary_key: [id]
          paginate: { next_url: { from: "header Next-Page" } }
destinations:
  lake: { local: { root: $dir/lake } }
exports:
  orders:
    source: kinto
    streams: [orders]
    to: [lake]
    format: { ndjson: {} }
    chunk_size: 1MB
YAML
"$bin/saas-export-daemon" --config "$dir/config.yaml" --auth-env "$dir/auth.env" >"$dir/daemon.log" 2>&1 &
daemon=$!
ctl() { "$bin/exportctl" --socket "$dir/control.sock" "$@"; }
wait_for 30 ctl status || { cat "$dir/daemon.log"; exit 1; }
for format in ndjson parquet; do
  ctl run orders --format "$format" --wait || { ctl tasks; tail -n 30 "$dir/daemon.log"; exit 1; }
  ctl files orders --latest --json >"$dir/files-$format.json"
  say "exported as $format"
done

# ---- compare with PostgreSQL
sql -At -c "SELECT json_build_object('id', id, 'last_modified', as_epoch(last_modified), 'data', data)
  FROM objects WHERE parent_id = '/buckets/shop/collections/orders' AND resource_name = 'record' AND NOT deleted" >"$dir/truth"
"$venv/bin/python" - "$dir" "$records" <<'PY'
import json, sys

dir, count = sys.argv[1], int(sys.argv[2])

def without_nulls(value):
    if isinstance(value, dict):
        return {k: without_nulls(v) for k, v in value.items() if v is not None and k != "_rescued"}
    return [without_nulls(v) for v in value] if isinstance(value, list) else value

truth = {}
for line in open(f"{dir}/truth", encoding="utf-8"):
    row = json.loads(line)
    truth[row["id"]] = {**row["data"], "id": row["id"], "last_modified": row["last_modified"]}
assert len(truth) == count, f"{len(truth)} records in PostgreSQL"

def paths(format):
    files = json.load(open(f"{dir}/files-{format}.json"))["files"]
    found = [f["path"] for f in files]
    assert found and all(p.endswith("." + format) for p in found), found
    return found

def compare(format, records, wanted):
    seen = {}
    for record in records:
        assert record["id"] not in seen, f"{format}: {record['id']} twice"
        seen[record["id"]] = record
    assert seen.keys() == wanted.keys(), f"{format}: {len(seen)} records, {len(wanted.keys() ^ seen.keys())} missing or too many"
    wrong = [i for i in wanted if seen[i] != wanted[i]]
    assert not wrong, f"{format}: {len(wrong)} records differ, e.g. {seen[wrong[0]]} for {wanted[wrong[0]]}"
    print(f"kinto: {format}: {len(seen)} records, each exactly as in PostgreSQL")

compare("ndjson", (json.loads(l) for p in paths("ndjson") for l in open(p, encoding="utf-8")), truth)
try:
    import pyarrow.parquet as pq
except ImportError:
    print("kinto: parquet: not compared (no pyarrow)")
else:
    rows = (row for p in paths("parquet") for row in pq.read_table(p).to_pylist())
    compare("parquet", map(without_nulls, rows), {i: without_nulls(r) for i, r in truth.items()})
PY
for task in $(ctl tasks --json | "$venv/bin/python" -c 'import json, sys; v = json.load(sys.stdin); print(*[t["id"] for t in (v if isinstance(v, list) else v["tasks"])])'); do
  ctl verify "$task" >/dev/null
done
say "ok"
