#!/usr/bin/env bash
# Exports Synapse, a Matrix server, and compares every record with its SQLite database: the messages of a room (cursor
# `end` given back as `from`, forwards and backwards), its users (cursor and total), and each user's profile, which the
# server limits: it answers 429 in earnest, and says in the body how long to wait. Credentials are bearer tokens.
#
#   tests/real/synapse.sh [MESSAGES]      500 unless given
#
# Synapse comes from PyPI. Its API has no way to ask for what changed since a time: `from` is an opaque token. So the second
# export reads everything again; of messages and users it publishes what is new by their times, profiles have none.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
begin 900 "$@"
messages=${1:-500}

# ---- install, start
venv synapse matrix-synapse
synapse=$venv
reader
port=$(free_port)
cd "$dir"
"$synapse/bin/python" -m synapse.app.homeserver --server-name test.localhost --config-path hs.yaml --generate-config \
  --report-stats=no >/dev/null 2>&1
cat >ours.yaml <<YAML
listeners:
  - { port: $port, tls: false, type: http, bind_addresses: [127.0.0.1], resources: [{ names: [client], compress: true }] }
trusted_key_servers: []
registration_shared_secret: not-a-secret
rc_message: { per_second: 10000, burst_count: 10000 }
rc_profile: { per_second: 40, burst_count: 10 }
YAML
"$synapse/bin/python" -m synapse.app.homeserver -c hs.yaml -c ours.yaml >synapse.log 2>&1 &
pids+=($!)
api=http://127.0.0.1:$port
wait_for 60 answers "$api/_matrix/client/versions"
"$synapse/bin/register_new_matrix_user" -u admin -p secret -a -k not-a-secret "$api" >/dev/null

# ---- fill, all through the API
cat >fill.py <<'PY'
"""fill.py PORT ROOM-OR-EMPTY FIRST COUNT USERS: sends messages and makes users; prints the room and a token."""
import http.client, json, sys, urllib.parse

port, room, first, count, users = int(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:])
connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

def call(method, path, body, token=None):
    headers = {"Content-Type": "application/json", **({"Authorization": "Bearer " + token} if token else {})}
    connection.request(method, path, json.dumps(body), headers)
    answer = connection.getresponse()
    text = answer.read()
    if answer.status >= 300:
        sys.exit(f"{method} {path}: {answer.status} {text[:200]}")
    return json.loads(text)

login = {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": "admin"}, "password": "secret"}
token = call("POST", "/_matrix/client/v3/login", login)["access_token"]
room = room or call("POST", "/_matrix/client/v3/createRoom", {}, token)["room_id"]
send = f"/_matrix/client/v3/rooms/{urllib.parse.quote(room)}/send/m.room.message/"
for n in range(first, first + count):
    body = {"msgtype": "m.text", "body": f"message {n} \"ünï\"\n\u2028 €", "n": n, "tags": ["a,b", None, {"deep": [n]}]}
    call("PUT", send + str(n), body, token)
for n in range(users):
    call("PUT", f"/_synapse/admin/v2/users/@u{n}:test.localhost", {"displayname": f"User {n} ünï"}, token)
print(room, token)
PY
read -r room token < <("$synapse/bin/python" fill.py "$port" "" 0 "$messages" 60)
[ -n "$token" ] || die "the server could not be filled"
cat >truth.py <<'PY'
import json, sqlite3

db = sqlite3.connect("homeserver.db", timeout=30)
def write(name, records):
    with open(name, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(record) + "\n" for record in records)

def event(event_id, room, text):
    event = json.loads(text)
    kept = ("content", "origin_server_ts", "sender", "state_key", "type")
    return {"event_id": event_id, "room_id": room, **{key: event[key] for key in kept if key in event}}

events = "SELECT e.event_id, e.room_id, j.json FROM events e JOIN event_json j USING (event_id) WHERE NOT e.outlier"
write("truth-messages", (event(*row) for row in db.execute(events)))
users = "SELECT u.name, u.admin, u.creation_ts, p.displayname FROM users u LEFT JOIN profiles p ON p.full_user_id = u.name"
users = [{"name": n, "admin": bool(a), "creation_ts": ts * 1000, "displayname": d} for n, a, ts, d in db.execute(users)]
write("truth-users", users)
write("truth-profiles", ({"displayname": u["displayname"]} for u in users))
PY
truth() { "$synapse/bin/python" truth.py; }
truth
say "serves $(wc -l <truth-messages) messages and $(wc -l <truth-users) users"

# ---- export, and compare with the database
secret SYNAPSE_TOKEN "$token"
describe() {
  local names follow=''
  # How old an event is differs in each answer, so that it would never come again as the same.
  [ -z "$incremental" ] || follow='incremental: { cursor_field: origin_server_ts, format: epoch_ms }
      transform: [ drop: [age, unsigned.age] ]'
  names=$("$synapse/bin/python" -c 'import json; print(json.dumps([json.loads(l)["name"] for l in open("truth-users")]))')
  cat >source.yaml <<YAML
rest:
  base_url: $api
  auth: { bearer: { token: "\${SYNAPSE_TOKEN}" } }
  answers: [{ status: [429], json: \$.errcode, equals: M_LIMIT_EXCEEDED, then: retry, wait: { from: \$.retry_after_ms, unit: ms } }]
  streams:
    forwards:
      path: "/_matrix/client/v3/rooms/$room/messages"
      query: { dir: f, limit: "100" }
      records: \$.chunk[*]
      primary_key: [event_id]
      paginate: { cursor: { from: \$.end, param: from } }
      $follow
    backwards:
      path: "/_matrix/client/v3/rooms/$room/messages"
      query: { dir: b, limit: "100" }
      records: \$.chunk[*]
      primary_key: [event_id]
      paginate: { cursor: { from: \$.end, param: from } }
      $follow
    users:
      path: /_synapse/admin/v2/users
      query: { limit: "50", order_by: name }
      records: \$.users[*]
      total: \$.total
      primary_key: [name]
      paginate: { cursor: { from: \$.next_token, param: from } }
    profiles:
      path: "/_matrix/client/v3/profile/{{ partition.value }}"
      records: \$
      partition: { list: { values: $names } }
      lanes: 4
YAML
  configure forwards backwards users profiles
}
comparisons() {
  compare forwards truth-messages event_id "$@"
  compare backwards truth-messages event_id "$@"
  compare users truth-users name
  compare profiles truth-profiles displayname --whole
}
describe
export_all
comparisons
limited=$(grep -c '/profile/.* 429 ' synapse.log homeserver.log 2>/dev/null | awk -F: '{ n += $NF } END { print n + 0 }')
[ "$limited" -gt 0 ] || die "the server has never answered 429: nothing was learned of rate limits"
say "the server answered 429 $limited times"

# ---- 30 messages more; export again
cp truth-messages before
"$synapse/bin/python" fill.py "$port" "$room" "$messages" 30 0 >/dev/null
truth
"$synapse/bin/python" -c 'import json; ids = lambda name: {json.loads(line)["event_id"] for line in open(name)}
print(json.dumps(sorted(ids("truth-messages") - ids("before"))))' >moved
export_all
told "$(wc -l <truth-messages)" 30 forwards backwards
comparisons ${incremental:+--moved moved}
at_rest "$(wc -l <truth-messages)" forwards backwards
say "ok"
