#!/usr/bin/env bash
# What the tests on a machine of their own share: a package on it, a source, an export in its middle, and what must hold. Sourced by
# run.sh and kernel.sh, which set `machine` (box.sh or vm.sh), BOX_NAME, and `records`, `page`, `per_second` and `middle`.
# shellcheck disable=SC2154,SC2034
bin=${CARGO_TARGET_DIR:-target}/debug
[ "${1:-}" != --bin-dir ] || bin=$2
bin=$(realpath "$bin")
for program in saas-export-daemon exportctl sample-api; do
  [ -x "$bin/$program" ] || { echo "$bin/$program is missing: build the programs first, or name their directory by --bin-dir" >&2; exit 2; }
done
out=$(mktemp -d)
clean() {
  rm -rf "$out"
  [ -n "${KEEP_BOX:-}" ] || "tests/systemd/$machine" destroy
}
trap clean EXIT
# Packages are not compressed: they are installed once, here.
export DPKG_DEB_OPTIONS='-Znone'
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
package=saas-export-daemon_${version}_$(dpkg --print-architecture).deb

step() { printf '\n== %s (%d s)\n' "$1" "$SECONDS"; }
fail() {
  echo "FAILED: $*" >&2
  box journalctl --no-pager -n 60 -u saas-export-daemon >&2 || true
  exit 1
}
box() { "tests/systemd/$machine" run "$@"; }
# is WHAT WANTED COMMAND…: what a command inside prints must be this.
is() {
  local what=$1 wanted=$2 got
  shift 2
  got=$(box "$@" 2>&1) || true
  [ "$got" = "$wanted" ] || fail "$what: wanted '$wanted', got '$got'"
  echo "ok: $what: ${wanted:-nothing}"
}
# holds WHAT SHELL: a condition inside.
holds() {
  box bash -c "$2" >/dev/null || fail "$1: $2"
  echo "ok: $1"
}
# until_holds WHAT SECONDS SHELL
until_holds() {
  local end=$((SECONDS + $2))
  until box bash -c "$3" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$end" ] || fail "$1: not within $2 s: $3"
    sleep 0.2
  done
  echo "ok: $1"
}
api() { box curl --silent --fail --max-time 20 "http://127.0.0.1:8099/_control/$1" "${@:2}"; }
# replaced PID: the condition that another one runs in its place.
replaced() { echo "systemctl is-active saas-export-daemon && test \$(systemctl show -P MainPID saas-export-daemon) != $1"; }
main_pid() { box systemctl show -P MainPID saas-export-daemon; }
state() { box exportctl show "$1" --json | jq -r .task.state; }

begin() { # a task that is in the middle of its reading; its id is in $task
  api reset -X POST >/dev/null
  api faults -X POST -d "[{\"kind\":\"rate\",\"per_second\":$per_second}]" >/dev/null
  task=$(box exportctl run shop --json | jq -r .task)
  for _ in $(seq 300); do
    [ "$(api truth | jq .requests)" -lt "$middle" ] || break
    sleep 0.05
  done
  [ "$(api truth | jq .requests)" -ge "$middle" ] && [ "$(state "$task")" = processing ] || fail "$task is not in the middle"
}

# What was exported is what the API has, each record once, and byte for byte what an undisturbed export wrote.
finish() {
  local what=$1 bytes
  box timeout 180 bash -c "while :; do
      case \$(exportctl show $task --json | jq -r .task.state) in succeeded) exit 0 ;; failed | cancelled) exit 1 ;; esac
      sleep 0.2
    done" || fail "$what: $task did not succeed: $(box exportctl show "$task" 2>&1)"
  is "$what: the ids are those of the API" "$(api truth | jq -r '.ids.all | "\(.count) \(.sha256)"')" \
    bash -c "exportctl files $task | xargs cat | jq -r .id | sort -n >/tmp/ids; echo \$(wc -l </tmp/ids) \$(sha256sum </tmp/ids | cut -d' ' -f1)"
  holds "$what: every file is verified" "exportctl verify $task --deep"
  bytes=$(box bash -c "exportctl files $task | xargs cat | sha256sum")
  [ "$bytes" = "${reference:=$bytes}" ] || fail "$what: other bytes than the undisturbed export"
}

# machine_with FILE…: a fresh machine, with these in /opt and a sample API that is there whenever it runs.
machine_with() {
  "tests/systemd/$machine" destroy
  "tests/systemd/$machine" start
  "tests/systemd/$machine" put "$@" "$bin/sample-api" /opt
  box bash -c 'cat >/etc/systemd/system/sample-api.service' <<E
[Service]
ExecStart=/opt/sample-api --listen 127.0.0.1:8099 --records $records --page-size $page
Restart=always
RestartSec=100ms
[Install]
WantedBy=multi-user.target
E
  box systemctl enable --quiet --now sample-api
}
install() { box apt-get install -y --no-install-recommends -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confold "/opt/$1" >/dev/null; }

# configure DESTINATIONS TO: an export of the sample API to these; lines of YAML, and names.
configure() {
  box bash -c 'cat >/etc/export/config.yaml' <<E
version: 1
sources:
  shop:
    rest:
      base_url: http://127.0.0.1:8099/bearer/v2
      auth: { bearer: { token: "\${SHOP_TOKEN}" } }
      streams:
        orders:
          path: /orders
          records: \$.data[*]
          primary_key: [id]
          total: \$.total
          paginate: { cursor: { from: \$.next_cursor, param: cursor } }
destinations:
$1
exports:
  shop:
    source: shop
    to: [$2]
    format: { ndjson: {} }
    chunk_size: 1MB
E
  box bash -c 'cat >/etc/export/auth.env' <<<"SHOP_TOKEN='tok-5f1c=secret#value'"
}
