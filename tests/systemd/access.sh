#!/usr/bin/env bash
# Every route of the control API, asked by people of every group:   access.sh TASK     (called by run.sh, in its box)
#
# The routes and what each needs come from the OpenAPI document that the daemon serves. A route that this script does not know how to
# ask is a failure: who adds one says here how.
set -euo pipefail
cd "$(dirname "$0")/../.."
task=$1
box() { tests/systemd/box.sh run "$@"; }

box bash -c '
  for who in viewer operator admin; do
    id in-$who >/dev/null 2>&1 || useradd -m in-$who && usermod -aG saas-export-$who in-$who   # not the primary group
    id of-$who >/dev/null 2>&1 || useradd -m -g saas-export-$who of-$who                       # the primary one
  done
  id stranger >/dev/null 2>&1 || useradd -m stranger'

box bash -s "$task" <<'E'
set -euo pipefail
task=$1 failed=0 asked=0
socket=/run/saas-export/control.sock
say() { echo "FAILED: $*" >&2; failed=$((failed + 1)); }

# How a route is asked for good: what is only looked at by its name, what changes something by a name that does not exist, because
# who may is told before what there is. Of those without a name each can be done at any time.
path_of() { # path_of METHOD PATH
  local path=$2 export=shop id=$task
  [ "$1" = get ] || { export=no-such-export id=20000101T000000Z-00000000; }
  path=${path//'{export}'/$export} path=${path//'{task}'/$id} path=${path//'{other}'/$task}
  path=${path//'{notification}'/no-such-message} path=${path//'{recipient}'/nobody}
  path=${path//'{snapshot}'/ledger-20000101T000000Z.db}
  path=${path//'{stream}'/orders} path=${path//'{name}'/part-0-000000.ndjson} path=${path//'{destination}'/lake}
  case $path in
  *'{'*) return 1 ;;
  */wait) path="$path?timeout=1" ;;
  esac
  echo "$path"
}

ask() { # ask USER METHOD PATH: the status, and the answer in /tmp/answer
  local uid gid
  uid=$(id -u "$1") gid=$(id -g "$1")
  rm -f /tmp/answer
  setpriv --reuid="$uid" --regid="$gid" --init-groups curl --silent --max-time 20 --unix-socket "$socket" -X "${2^^}" \
    -H 'Content-Type: application/json' ${4:+-d "$4"} -o - -w '\n%{http_code}' "http://localhost$3" >/tmp/answer || true
  tail -n 1 /tmp/answer
}

level() { case $1 in read) echo 1 ;; operate) echo 2 ;; admin) echo 3 ;; *) echo 0 ;; esac; }
group() { case $1 in read) echo saas-export-viewer ;; operate) echo saas-export-operator ;; *) echo saas-export-admin ;; esac; }

curl --silent --unix-socket "$socket" http://localhost/v1/openapi.json |
  jq -r '.paths | to_entries[] | .key as $path | .value | to_entries[] | "\(.key) \($path) \(.value["x-access"])"' >/tmp/routes
[ "$(wc -l </tmp/routes)" -ge 40 ] || say "only $(wc -l </tmp/routes) routes"

while read -r user has; do
  mine=$(level "$has")
  while read -r method path needs <&3; do
    [ "$(level "$needs")" != 0 ] || { say "$method $path needs '$needs', which is no access"; continue; }
    at=$(path_of "$method" "$path") || { say "$method $path: this test does not know how to ask it"; continue; }
    body=''
    [ "$method" != put ] || body='{}'
    status=$(ask "$user" "$method" "$at" "$body")
    asked=$((asked + 1))
    if [ "$mine" -ge "$(level "$needs")" ]; then
      case $status in
      2?? | 4?? | 502) [ "$status" != 403 ] && [ "$status" != 401 ] || say "$user may $needs, but $method $at: $status" ;;
      *) say "$user: $method $at: $status $(head -c 300 /tmp/answer)" ;;
      esac
      # What is only looked at must really be shown.
      if [ "$method" = get ] && [ "$needs" = read ] && [ "${status:0:1}" != 2 ]; then
        case $path in */diff* | */schedule) ;; *) say "$user: $method $at shows nothing: $status $(head -c 300 /tmp/answer)" ;; esac
      fi
    else
      case $has/$needs in
      none/*) but="may not use this daemon" ;;
      read/operate) but="may look but not act" ;;
      read/admin) but="may look but not change offsets or the daemon" ;;
      *) but="may act on tasks but not change offsets or the daemon" ;;
      esac
      wanted="uid $(id -u "$user") ($user) $but: ask an administrator for the group $(group "$needs")"
      got=$(sed '$d' /tmp/answer | jq -r '.error.message // .message' 2>/dev/null || true)
      [ "$status" = 403 ] && [ "$got" = "$wanted" ] || say "$user: $method $at: $status '$got', wanted 403 '$wanted'"
    fi
  done 3</tmp/routes
  echo "ok: $user ($has): $(wc -l </tmp/routes) routes"
done <<'USERS'
stranger none
in-viewer read
of-viewer read
in-operator operate
of-operator operate
in-admin admin
of-admin admin
root admin
USERS

# The client says it in the same words, and with an exit code of its own.
code=0
said=$(setpriv --reuid="$(id -u stranger)" --regid="$(id -g stranger)" --init-groups exportctl status 2>&1) || code=$?
[ "$code" = 5 ] && grep -q 'ask an administrator for the group saas-export-viewer' <<<"$said" || say "exportctl as a stranger: $code $said"
[ "$failed" = 0 ] || { echo "$failed of $asked answers are wrong" >&2; exit 1; }
echo "ok: $asked answers"
E
