#!/usr/bin/env bash
# Makes configurations from OpenAPI documents that nobody here wrote, as their publishers put them on npm, and checks what
# comes out: it loads, it has the collections that are known to be there, and their paginators are recognised.
#
#   tests/real/openapi.sh
#
# GitHub (3.0, JSON of 13 MB), Figma (3.1, YAML) and Directus (3.0, JSON). The packages are fetched by npm into the cache
# directory once; without npm or the registry the test says that it skips itself. A second or two a document.
set -euo pipefail
cd "$(dirname "$0")/../.."
if [ -z "${OPENAPI_BOUNDED:-}" ]; then
  OPENAPI_BOUNDED=1 exec timeout --kill-after=30 300 "$0"
fi

bin=$(realpath "${SAAS_EXPORT_BIN_DIR:-target/debug}")/saas-export-daemon
cache=${OPENAPI_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/saas-export-tests/openapi}
dir=$(mktemp -d /tmp/sxd-openapi-XXXXXX)
trap 'rm -rf "$dir"' EXIT
say() { printf 'openapi: %s (%d s)\n' "$1" "$SECONDS"; }
fail() { printf 'openapi: %s\n' "$1" >&2; exit 1; }
skip() {
  say "$1; SKIPPED"
  [ -z "${SAAS_EXPORT_SKIPS:-}" ] || echo "real OpenAPI documents: $1" >>"$SAAS_EXPORT_SKIPS"
  exit 0
}

# document NAME PACKAGE@VERSION PATH: the file of a package, as $cache/NAME
document() {
  [ ! -s "$cache/$1" ] || return 0
  command -v npm >/dev/null || skip "npm is not installed"
  mkdir -p "$cache" "$dir/$1.d"
  (cd "$dir/$1.d" && timeout 120 npm pack --silent "$2" >/dev/null) || skip "npm does not give $2"
  tar -xzf "$dir/$1.d/"*.tgz -C "$dir/$1.d" "package/$3"
  mv "$dir/$1.d/package/$3" "$cache/$1"
}

# init NAME: makes NAME.yaml of the document and checks that it loads with the secrets that it names
init() {
  "$bin" init --openapi "$cache/$1" --output "$dir/$1.yaml" 2>"$dir/$1.said" || fail "$1: $(cat "$dir/$1.said")"
  ! "$bin" init --openapi "$cache/$1" --output "$dir/$1.yaml" 2>/dev/null || fail "$1: it wrote over a file"
  (umask 077; sed -n 's/^#   \([A-Z][A-Z0-9_]*\)=$/\1=placeholder/p' "$dir/$1.yaml" >"$dir/$1.env")
  "$bin" --config "$dir/$1.yaml" --auth-env "$dir/$1.env" --check-config >"$dir/$1.checked" ||
    fail "$1 does not load: $(head -n 5 "$dir/$1.checked")"
  streams=$(grep -c '^          path: ' "$dir/$1.yaml")
  say "$1: $(cat "$dir/$1.said")"
}

# stream NAME STREAM LINE…: the stream has each of these lines (beginnings of them)
stream() {
  local name=$1 stream=$2 line block
  shift 2
  block=$(awk -v start="        $stream:" '$0 == start { on = 1; next } on && !/^          / { exit } on' "$dir/$name.yaml")
  [ -n "$block" ] || fail "$name has no stream $stream"
  for line in "$@"; do
    grep -qF -- "          $line" <<<"$block" || fail "$name: $stream has no line «$line» but: $block"
  done
}

least() { [ "$streams" -ge "$2" ] || fail "$1: $streams streams, at least $2 are there"; }

document github @octokit/openapi@23.0.2 generated/api.github.com.json
document figma @figma/rest-api-spec@0.43.0 openapi/openapi.yaml
document directus @directus/specs@15.2.0 dist/openapi.json

init github
least github 250
stream github repos_issues 'path: "/repos/{{ param.owner }}/{{ param.repo }}/issues"' 'query: { per_page: "100" }' \
  'records: "$[*]"' 'primary_key: [id]' 'paginate: { link: {} }' '# check: incremental: { cursor_field: updated_at, param: since'
stream github organizations 'path: /organizations' 'paginate: { '
stream github search_issues 'records: "$.items[*]"' 'total: $.total_count' 'query: { q: "{{ param.q }}"'

init figma
least figma 5
grep -qF 'auth: { api_key: { header: X-Figma-Token, value: "${' "$dir/figma.yaml" || fail "figma: no credentials"
stream figma files_comments 'path: "/v1/files/{{ param.file_key }}/comments"' 'records: "$.comments[*]"'

init directus
least directus 15
stream directus users 'path: /users' 'records: "$.data[*]"' 'primary_key: [id]' \
  'paginate: { offset: { param: offset, limit_param: limit, limit: 100 } }'
say ok
