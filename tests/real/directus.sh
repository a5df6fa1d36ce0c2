#!/usr/bin/env bash
# Exports Directus and compares every record with its SQLite database: pages by number with the total in the body, by
# offset, by GraphQL with the offset in a variable; bearer token, real 429 with Retry-After; changes by a filter.
#
#   tests/real/directus.sh [RECORDS]      5,000 unless given
#
# Directus comes from npm; the first installation takes minutes (it compiles SQLite).
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
begin 1800 "$@"
records=${1:-5000}

# ---- install, start
python_ready
if ! command -v npm >/dev/null; then
  packages nodejs npm
fi
[ "$(node -p 'process.versions.node.split(".")[0]')" -ge 20 ] || skip "needs Node.js 20, this is $(node --version)"
home=$cache/directus
if [ ! -e "$home/.complete" ]; then
  say "installing from npm"
  rm -rf "$home"
  mkdir -p "$home"
  (
    cd "$home"
    echo '{ "private": true }' >package.json
    npm install --no-audit --no-fund --loglevel error directus@11 >install.log 2>&1 || { tail -n 20 install.log; exit 1; }
    [ -n "$(find node_modules/sqlite3/build -name '*.node' 2>/dev/null)" ] || npm rebuild sqlite3 >>install.log 2>&1
  )
  touch "$home/.complete"
fi
reader
port=$(free_port)
cd "$dir"
token=static-token-0123456789
export DB_CLIENT=sqlite3 DB_FILENAME=$dir/data.db SECRET=not-a-secret ADMIN_EMAIL=admin@example.com ADMIN_PASSWORD=secret-1234 \
  ADMIN_TOKEN=$token HOST=127.0.0.1 PORT=$port PUBLIC_URL=http://127.0.0.1:$port TELEMETRY=false CACHE_ENABLED=false \
  STORAGE_LOCATIONS=local STORAGE_LOCAL_ROOT=$dir/uploads EXTENSIONS_PATH=$dir/extensions QUERY_LIMIT_MAX=1000 \
  RATE_LIMITER_ENABLED=true RATE_LIMITER_STORE=memory RATE_LIMITER_POINTS=20 RATE_LIMITER_DURATION=1
mkdir uploads extensions
"$home/node_modules/.bin/directus" bootstrap >directus.log 2>&1
node "$home/node_modules/directus/cli.js" start >>directus.log 2>&1 &
pids+=($!)
api=http://127.0.0.1:$port
wait_for 90 answers "$api/server/ping"

# ---- fill: the collection through the API, its records where the application keeps them
ask() { curl -sf --max-time 60 -H "Authorization: Bearer $token" -H 'Content-Type: application/json' "$@"; }
ask -o /dev/null "$api/collections" -d '{"collection":"customers","schema":{},"meta":{},"fields":[
  {"field":"id","type":"integer","schema":{"is_primary_key":true,"has_auto_increment":true}},
  {"field":"name","type":"string","schema":{}},
  {"field":"amount","type":"float","schema":{}},
  {"field":"doc","type":"json","schema":{},"meta":{"special":["cast-json"]}},
  {"field":"day","type":"date","schema":{}},
  {"field":"vip","type":"boolean","schema":{},"meta":{"special":["cast-boolean"]}},
  {"field":"updated_at","type":"timestamp","schema":{},"meta":{"special":["date-created","date-updated"]}}]}'
cat >fill.py <<'PY'
import json, sqlite3, sys, time

db, count = sqlite3.connect("data.db", timeout=60), int(sys.argv[1])
begin = int(time.time() * 1000) - 86_400_000
def row(n):
    doc = {"t": [n, None, {"d": n / 3}]} if n % 4 else ([n] if n % 8 else None)
    day = f"20{n % 30 + 10}-{n % 12 + 1:02}-{n % 28 + 1:02}" if n % 3 else None
    return n, f"customer {n} \"ünï\",\n€", n * 1.5, doc and json.dumps(doc), day, n % 2, begin + n // 3 * 1000
db.executemany("INSERT INTO customers (id, name, amount, doc, day, vip, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?)", map(row, range(1, count + 1)))
db.commit()
PY
cat >truth.py <<'PY'
import datetime, json, sqlite3

db = sqlite3.connect("data.db", timeout=60)
with open("truth", "w", encoding="utf-8") as file, open("truth-graphql", "w", encoding="utf-8") as graphql:
    for id, name, amount, doc, day, vip, updated in db.execute("SELECT id, name, amount, doc, day, vip, updated_at FROM customers"):
        at = datetime.datetime.fromtimestamp(updated / 1000, datetime.timezone.utc)
        record = {"id": id, "name": name, "amount": amount, "doc": doc and json.loads(doc), "day": day,
                  "vip": None if vip is None else bool(vip), "updated_at": at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03}Z"}
        file.write(json.dumps(record) + "\n")
        graphql.write(json.dumps({**record, "id": str(id)}) + "\n")
PY
python3 fill.py "$records"
python3 truth.py
say "serves $records records"

# ---- export, and compare with the database
secret DIRECTUS_TOKEN "$token"
follow=''
[ -z "$incremental" ] ||
  follow='incremental: { cursor_field: updated_at, param: "filter[updated_at][_gte]", start: 2020-01-01T00:00:00Z }'
cat >source.yaml <<YAML
rest:
  base_url: $api
  auth: { bearer: { token: "\${DIRECTUS_TOKEN}" } }
  streams:
    pages:
      path: /items/customers
      query: { sort: "updated_at,id", meta: filter_count }
      records: \$.data[*]
      total: \$.meta.filter_count
      primary_key: [id]
      paginate: { page: { size_param: limit, size: 100 } }
      $follow
    offsets:
      path: /items/customers
      query: { sort: "updated_at,id", "fields[]": "*" }
      records: \$.data[*]
      primary_key: [id]
      paginate: { offset: { limit: 250 } }
      $follow
    graphql:
      path: /graphql
      method: POST
      body:
        query: "query(\$limit: Int, \$offset: Int) { customers(limit: \$limit, offset: \$offset, sort: [\"id\"]) { id name amount doc day vip updated_at } }"
        variables: {}
      records: \$.data.customers[*]
      primary_key: [id]
      paginate: { offset: { param: variables.offset, limit_param: variables.limit, limit: 500, in: body } }
YAML
configure pages offsets graphql
# GraphQL here has no filter by time: this stream is read and published as a whole each time.
comparisons() {
  compare pages truth id --whole "$@"
  compare offsets truth id --whole "$@"
  compare graphql truth-graphql id --whole
}
export_all
comparisons

# ---- 30 changed and 5 added through the API; export again
ask -o /dev/null -X PATCH "$api/items/customers" -d "$(python3 -c 'import json; print(json.dumps({"keys": list(range(10, 310, 10)), "data": {"name": "changed", "doc": {"new": [1]}}}))')"
new=$(ask -X POST "$api/items/customers" -d '[{"name":"a"},{"name":"b","amount":0.1},{"name":"c"},{"name":"d"},{"name":"e"}]' |
  python3 -c 'import json, sys; print([r["id"] for r in json.load(sys.stdin)["data"]])')
python3 -c 'import json, sys; print(json.dumps(list(range(10, 310, 10)) + json.loads(sys.argv[1])))' "$new" >moved
python3 truth.py
export_all
told 38 35 pages offsets # at the boundary are up to 3
comparisons ${incremental:+--moved moved}
limited=$(grep -c ' 429 ' directus.log || true)
[ "$limited" -gt 0 ] || die "the server has never answered 429: nothing was learned of rate limits"
say "the server answered 429 $limited times"
at_rest 35 pages offsets
say "ok"
