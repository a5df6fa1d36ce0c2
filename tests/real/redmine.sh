#!/usr/bin/env bash
# Exports Redmine, and compares every record with its SQLite database: offset and limit with total_count, of which the
# server gives at most 100 whatever is asked; API key in a header; changes by `updated_on=>=…`.
#
#   tests/real/redmine.sh [ISSUES]      3,000 unless given
#
# Redmine runs in a chroot of Debian packages, which root makes with mmdebstrap.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
begin 1800 "$@"
issues=${1:-3000}

# ---- install, start
# shellcheck disable=SC2016,SC2034
box_hooks=(--essential-hook='printf "redmine redmine/instances/default/%s\n" "dbconfig-install boolean true" "database-type select sqlite3" "default-language select en" | chroot "$1" debconf-set-selections')
box redmine redmine redmine-sqlite ruby-sqlite3 puma sqlite3
reader
port=$(free_port)
db=$(find "$box/var/lib/dbconfig-common/sqlite3/redmine" -type f | head -n 1)
[ -n "$db" ] || die "the package has made no database"
db=${db#"$box"}
key=0123456789abcdef0123456789abcdef01234567
sql() { inside sqlite3 -cmd '.timeout 30000' "$db" "$@"; }
sql >/dev/null <<SQL
PRAGMA journal_mode = WAL;
DELETE FROM settings WHERE name = 'rest_api_enabled';
INSERT INTO settings (name, value, updated_on) VALUES ('rest_api_enabled', '1', datetime('now'));
UPDATE users SET must_change_passwd = 0 WHERE login = 'admin';
INSERT INTO tokens (user_id, action, value, created_on, updated_on)
  SELECT id, 'api', '$key', datetime('now'), datetime('now') FROM users WHERE login = 'admin';
INSERT INTO projects (name, identifier, is_public, status, created_on, updated_on, lft, rgt) VALUES ('P', 'p', 1, 1, datetime('now'), datetime('now'), 1, 2);
INSERT INTO projects_trackers SELECT 1, id FROM trackers;
INSERT INTO enabled_modules (project_id, name) VALUES (1, 'issue_tracking');
WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < $issues)
INSERT INTO issues (id, tracker_id, project_id, subject, description, status_id, priority_id, author_id, lock_version,
  created_on, updated_on, start_date, due_date, estimated_hours, done_ratio, root_id, lft, rgt, is_private)
SELECT i, 1 + i % 3, 1, 'issue ' || i || ' "ünï" €', 'body' || char(10) || i, 1, (SELECT min(id) FROM enumerations WHERE type = 'IssuePriority'),
  (SELECT id FROM users WHERE login = 'admin'), 0,
  datetime('now', '-' || (200000 - i / 3) || ' seconds'), datetime('now', '-' || (200000 - i / 3) || ' seconds'),
  CASE WHEN i % 2 THEN date('now') END, CASE WHEN i % 5 = 0 THEN date('now', '+' || i || ' days') END,
  CASE WHEN i % 3 = 0 THEN i / 4.0 END, 10 * (i % 11), i, 1, 2, i % 2
FROM c;
SQL
inside chown -R www-data: "$(dirname "$db")"
serve "cd /usr/share/redmine
setpriv --reuid=www-data --regid=www-data --clear-groups env RAILS_ENV=production X_DEBIAN_SITEID=default \\
  puma -e production -b tcp://127.0.0.1:$port -t 2:4 config.ru"
api=http://127.0.0.1:$port
wait_for 120 answers "$api/issues.json?limit=1"
truth() {
  sql "SELECT json_object('id', i.id, 'subject', subject, 'description', description, 'tracker.id', tracker_id, 'project.id', project_id,
      'status.id', status_id, 'priority.id', priority_id, 'author.id', author_id, 'done_ratio', done_ratio,
      'is_private', json(CASE WHEN is_private THEN 'true' ELSE 'false' END), 'start_date', start_date, 'due_date', due_date,
      'estimated_hours', estimated_hours, 'created_on', strftime('%Y-%m-%dT%H:%M:%SZ', created_on),
      'updated_on', strftime('%Y-%m-%dT%H:%M:%SZ', updated_on)) FROM issues i" >"$dir/truth"
}
truth
say "serves $(wc -l <"$dir/truth") issues"

# ---- export, and compare with the database
secret REDMINE_KEY "$key"
follow=''
[ -z "$incremental" ] ||
  follow='incremental: { cursor_field: updated_on, param: updated_on, start: 2000-01-01T00:00:00Z, format: ">=%Y-%m-%dT%H:%M:%SZ" }'
cat >"$dir/source.yaml" <<YAML
rest:
  base_url: $api
  auth: { api_key: { header: X-Redmine-API-Key, value: "\${REDMINE_KEY}" } }
  streams:
    issues:
      path: /issues.json
      query: { status_id: "*", sort: "updated_on,id" }
      records: \$.issues[*]
      total: \$.total_count
      primary_key: [id]
      paginate: { offset: { limit: 500 } }
      $follow
YAML
configure issues
export_all
compare issues "$dir/truth" id

# ---- 20 changed and 3 added through the API; export again
ask() { curl -sf --max-time 60 -H "X-Redmine-API-Key: $key" -H 'Content-Type: application/json' "$@"; }
for id in $(seq 100 100 2000); do
  ask -X PUT "$api/issues/$id.json" -d '{"issue":{"subject":"changed ✓","done_ratio":100}}'
  echo "$id" >>"$dir/ids"
done
for n in 1 2 3; do
  ask "$api/issues.json" -d "{\"issue\":{\"project_id\":1,\"subject\":\"new $n\",\"tracker_id\":1,\"status_id\":1,\"priority_id\":$(sql "SELECT min(id) FROM enumerations WHERE type = 'IssuePriority'")}}" |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["issue"]["id"])' >>"$dir/ids"
done
python3 -c 'import json, sys; print(json.dumps([int(id) for id in open(sys.argv[1])]))' "$dir/ids" >"$dir/moved"
truth
export_all
told 26 23 issues # at the boundary are up to 3
compare issues "$dir/truth" id ${incremental:+--moved "$dir/moved"}
at_rest 23 issues
say "ok"
