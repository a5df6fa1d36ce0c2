#!/usr/bin/env bash
# Exports Kinto, a JSON store with PostgreSQL behind it, and compares every record with what PostgreSQL holds. Pages follow
# the Next-Page header, credentials are basic, changes come by `_since`, deleted records leave tombstones.
#
#   tests/real/kinto.sh [RECORDS]      25,000 unless given
#
# Kinto comes from PyPI, PostgreSQL from the system's packages (as root).
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
begin 900 "$@"
records=${1:-25000}

# ---- install
find_pg() { find /usr/lib/postgresql -maxdepth 3 -name initdb -printf '%h\n' 2>/dev/null | sort -V | tail -n 1; }
[ -n "$(find_pg)" ] || packages postgresql python3-venv curl
venv kinto "kinto[postgresql]" psycopg2-binary zope.sqlalchemy "setuptools<81"
kinto=$venv
reader

# ---- start
pg=$(find_pg)
as_postgres() { # initdb refuses to run as root
  if [ "$(id -u)" = 0 ]; then
    setpriv --reuid=postgres --regid=postgres --init-groups "$@"
  else
    "$@"
  fi
}
stop_postgres() { as_postgres "$pg/pg_ctl" -D "$dir/pg/data" -m immediate stop; }
pg_port=$(free_port)
mkdir -p "$dir/pg"
[ "$(id -u)" != 0 ] || chown postgres "$dir/pg"
as_postgres "$pg/initdb" -A trust -E UTF8 -D "$dir/pg/data" >/dev/null
stops+=(stop_postgres)
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
"$kinto/bin/kinto" migrate --ini "$dir/kinto.ini" >"$dir/kinto.log" 2>&1
"$kinto/bin/kinto" start --ini "$dir/kinto.ini" --port "$http_port" >>"$dir/kinto.log" 2>&1 &
pids+=($!)
api=http://127.0.0.1:$http_port/v1
wait_for 60 answers "$api/"

# ---- fill: one record through the API, the others where the application keeps them
password='p w:"ö'
json='Content-Type: application/json'
answers -X PUT "$api/accounts/reader" -H "$json" -d '{"data":{"password":"p w:\"ö"}}'
as_reader() { curl -sf --max-time 60 -u "reader:$password" "$@"; }
orders=$api/buckets/shop/collections/orders/records
as_reader -o /dev/null -X PUT "$api/buckets/shop"
as_reader -o /dev/null -X PUT "$api/buckets/shop/collections/orders"
as_reader -o /dev/null -X POST "$orders" -H "$json" -d '{"data":{"seq":0,"name":"through the API"}}'
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
truth() {
  sql -At -c "SELECT data || jsonb_build_object('id', id, 'last_modified', as_epoch(last_modified))
    FROM objects WHERE parent_id = '/buckets/shop/collections/orders' AND resource_name = 'record' AND NOT deleted" \
    >"$dir/truth"
}

# ---- export, and compare with PostgreSQL
secret KINTO_USER reader
secret KINTO_PASSWORD "$password"
follow=''
# Milliseconds, each of them once in a collection: that `_since` gives only what is later than its value loses nothing.
[ -z "$incremental" ] || follow='incremental: { cursor_field: last_modified, param: _since, start: "0", format: epoch_ms }'
cat >"$dir/source.yaml" <<YAML
rest:
  base_url: $api
  auth: { basic: { username: "\${KINTO_USER}", password: "\${KINTO_PASSWORD}" } }
  streams:
    orders:
      path: /buckets/shop/collections/orders/records
      query: { _limit: "500", _sort: last_modified }
      records: \$.data[*]
      primary_key: [id]
      paginate: { next_url: { from: "header Next-Page" } }
      $follow
YAML
configure orders
truth
export_all
compare orders "$dir/truth" id --whole --tombstone deleted

# ---- change 40, delete 10 and add 5 through the API; export again
sql -At -c "SELECT id FROM objects WHERE resource_name = 'record' AND NOT deleted ORDER BY md5(id) LIMIT 50" >"$dir/ids"
for id in $(head -n 40 "$dir/ids"); do
  as_reader -o /dev/null -X PATCH "$orders/$id" -H "$json" -d '{"data":{"name":"changed","extra":{"n":1}}}'
done
for id in $(tail -n 10 "$dir/ids"); do as_reader -o /dev/null -X DELETE "$orders/$id"; done
for n in 1 2 3 4 5; do
  as_reader -X POST "$orders" -H "$json" -d "{\"data\":{\"seq\":-$n,\"name\":\"new $n\"}}" |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["data"]["id"])' >>"$dir/ids"
done
python3 -c 'import json, sys; json.dump(open(sys.argv[1]).read().split(), sys.stdout)' "$dir/ids" >"$dir/moved"
truth
export_all
told 55 55 orders
compare orders "$dir/truth" id --whole --tombstone deleted ${incremental:+--moved "$dir/moved"}
at_rest 0 orders
say "ok"
