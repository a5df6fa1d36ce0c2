#!/usr/bin/env bash
# Gets tokens from an authorization server that nobody here wrote (node-oidc-provider): client credentials in both ways,
# signed assertions, and `auth login` by a browser's flow with a refresh token that rotates. Each exports a protected JSON API
# completely, with tokens that live shorter than the export takes.
#
#   tests/real/oidc.sh
#
# The server comes from npm into the cache directory. Everything listens on loopback, is bounded in time, and is gone at the
# end. Takes some 20 s.
set -euo pipefail
cd "$(dirname "$0")/../.."
if [ -z "${OIDC_BOUNDED:-}" ]; then
  OIDC_BOUNDED=1 exec timeout --kill-after=10 240 "$0"
fi

bin=${SAAS_EXPORT_BIN_DIR:-target/debug}
cache=${OIDC_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/saas-export-tests/oidc}
dir=$(mktemp -d /tmp/sxd-oidc-XXXXXX)
say() { printf '%s: %s (%d s)\n' "oidc" "$1" "$SECONDS"; }

server=
daemon=
stop() {
  [ -z "$daemon" ] || kill "$daemon" 2>/dev/null || true
  [ -z "$server" ] || kill "$server" 2>/dev/null || true
  wait 2>/dev/null || true
  rm -rf "$dir"
}
trap stop EXIT
trap 'exit 143' TERM INT

wait_for() { # wait_for SECONDS COMMAND…: until the command succeeds
  local end=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$end" ] || { echo "oidc: gave up waiting for: $*" >&2; return 1; }
    sleep 0.1
  done
}

# ---- install
if ! command -v npm >/dev/null || ! command -v node >/dev/null; then
  if [ "$(id -u)" != 0 ]; then
    echo "oidc: needs node and npm; SKIPPED (not root, cannot install them)"
    exit 0
  fi
  apt-get update -qq || true
  DEBIAN_FRONTEND=noninteractive apt-get install -yqq --no-install-recommends nodejs npm curl >/dev/null
fi
if ! node -e 'process.exit(Number(process.versions.node.split(".")[0]) >= 18 ? 0 : 1)'; then
  echo "oidc: needs node 18 or newer; SKIPPED"
  exit 0
fi
if [ ! -d "$cache/node_modules/oidc-provider" ]; then
  say "installing from npm"
  mkdir -p "$cache"
  (cd "$cache" && npm install --no-audit --no-fund --silent oidc-provider@9)
fi
# Modules are looked for beside the file that wants them.
cp tests/real/oidc.mjs "$cache/oidc.mjs"

# ---- start
free_port() { node -e 'const s = require("net").createServer().listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close(); })'; }
auth_port=$(free_port)
api_port=$(free_port)
node "$cache/oidc.mjs" serve "$auth_port" "$api_port" "$PWD/tests/fixtures/keys" >"$dir/server.log" 2>&1 &
server=$!
wait_for 30 grep -q '^ready' "$dir/server.log" || { cat "$dir/server.log"; exit 1; }
auth=http://127.0.0.1:$auth_port
say "serves tokens"

# ---- configure
one_line() { awk '{ printf "%s\\n", $0 }' "$1"; }
(
  umask 077
  cat >"$dir/auth.env" <<ENV
BASIC_SECRET='s3cret of basic: 1+%:%+&=/'
POST_SECRET='s3cret of post:%+&=/'
SERVICE_SECRET='s3cret of service:%+&=/'
RSA='$(one_line tests/fixtures/keys/rsa.pem)'
P256='$(one_line tests/fixtures/keys/p256.pem)'
ENV
)
{
  cat <<YAML
version: 1
daemon:
  state_dir: $dir/state
  socket: $dir/control.sock
  parallel: 5
destinations:
  lake: { local: { root: $dir/lake } }
sources:
YAML
  source_of() { # source_of NAME AUTH
    cat <<YAML
  $1:
    rest:
      base_url: http://127.0.0.1:$api_port/v1
      auth: $2
      streams:
        items:
          path: /items
          records: \$.data[*]
          primary_key: [id]
          paginate: { cursor: { from: \$.next, param: cursor } }
YAML
  }
  jwt="token_url: $auth/token, issuer: service@example, subject: somebody, client_id: service, client_secret: \"\${SERVICE_SECRET}\""
  source_of basic "{ oauth2: { token_url: $auth/token, client_id: \"basic: 1+%\", client_secret: \"\${BASIC_SECRET}\" } }"
  source_of post "{ oauth2: { token_url: $auth/token, client_id: post, client_secret: \"\${POST_SECRET}\", client_auth: body } }"
  source_of rs256 "{ jwt_bearer: { key: \"\${RSA}\", $jwt } }"
  source_of es256 "{ jwt_bearer: { key: \"\${P256}\", algorithm: ES256, $jwt } }"
  source_of login "{ oauth2: { token_url: $auth/token, client_id: native, scopes: [openid, offline_access], grant: { refresh_token: {} }, authorize_url: \"$auth/auth?prompt=consent\" } }"
  echo "exports:"
  for name in basic post rs256 es256 login; do
    echo "  $name: { source: $name, to: [lake], format: { ndjson: {} } }"
  done
} >"$dir/config.yaml"
run() { "$bin/saas-export-daemon" --config "$dir/config.yaml" --auth-env "$dir/auth.env" "$@"; }

# ---- log in, as a person with a browser does
run auth login login >"$dir/login.out" 2>"$dir/login.err" &
login=$!
wait_for 20 grep -q "$auth/auth?" "$dir/login.out" || { cat "$dir/login.err"; exit 1; }
url=$(grep -o "$auth/auth?[^ ]*" "$dir/login.out")
browse() { curl -sS -L -c "$dir/jar" -b "$dir/jar" "$@"; }
form() { sed -n 's/.*action="\([^"]*\)".*/\1/p' | head -n 1; }
action=$(browse "$url" | form)
action=$(browse --data 'prompt=login&login=somebody&password=x' "$action" | form)
browse --data 'prompt=consent' "$action" | grep -q 'has what it needs'
wait "$login" || { cat "$dir/login.err"; exit 1; }
say "logged in"

# ---- export all at once
start() {
  run >"$dir/daemon.log" 2>&1 &
  daemon=$!
  wait_for 30 ctl status || { cat "$dir/daemon.log"; exit 1; }
}
ctl() { "$bin/exportctl" --socket "$dir/control.sock" "$@"; }
start
pids=
for name in basic post rs256 es256 login; do
  ctl run "$name" --wait >"$dir/$name.out" 2>&1 &
  pids="$pids $!"
done
for pid in $pids; do
  wait "$pid" || { cat "$dir"/*.out; tail -n 30 "$dir/daemon.log"; cat "$dir/server.log"; exit 1; }
done
say "exported"
# The refresh token has rotated by now: another process goes on with what is kept.
kill "$daemon"
wait "$daemon" || true
start
ctl run login --wait >/dev/null || { tail -n 30 "$dir/daemon.log"; exit 1; }
say "exported again after a restart"

# ---- compare
for name in basic post rs256 es256 login; do
  ctl files "$name" --latest --json | node -e '
    const { files } = JSON.parse(require("fs").readFileSync(0, "utf8"));
    console.log(files.map((file) => file.path).join("\n"));' >"$dir/files"
  mapfile -t files <"$dir/files"
  printf 'oidc: %s: ' "$name"
  node "$cache/oidc.mjs" compare "${files[@]}"
done
curl -sf "http://127.0.0.1:$api_port/counts" >"$dir/counts"
node - "$dir/counts" <<'JS'
const { unauthorized, refused, granted } = JSON.parse(require('fs').readFileSync(process.argv[2], 'utf8'));
console.log('oidc: granted', JSON.stringify(granted));
if (unauthorized || refused.length) throw new Error(`${unauthorized} requests with no good token; refused: ${refused}`);
if (Object.values(granted).filter((count) => count >= 2).length < 4) throw new Error('no token was renewed in the middle');
JS
if grep -rlE "s3cret of|$(sed -n 4p tests/fixtures/keys/rsa.pem | tr '+' '.')" "$dir" --include='*' --exclude=auth.env >"$dir/leaks.list" 2>/dev/null \
  && grep -v leaks.list "$dir/leaks.list" | grep -q .; then
  echo "oidc: a secret is in: $(cat "$dir/leaks.list")" >&2
  exit 1
fi
say "ok"
