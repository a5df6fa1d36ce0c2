# shellcheck shell=bash
# What the scripts beside this one share: bounds, packages, ports, the two programs of ours, and the comparison.
#
# A script says `records`, sources this file, calls `begin NAME SECONDS`, brings its server up, writes $dir/source.yaml
# (streams of a source named `app`) and $dir/auth.env, and calls `export_all` and `compare`. What it has started it adds to
# `pids`, or to `stops` where a signal is not enough. Everything of a run is below $dir, which is gone at the end.
#
# The streams follow their cursor fields: the second export must move exactly what changed (`told`, `compare --moved`), and
# a third one nothing (`at_rest`). FULL=1: without cursor fields, so that the second export reads everything again.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
bin=${SAAS_EXPORT_BIN_DIR:-$root/target/debug}
cache=${REAL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/saas-export-tests}
# shellcheck disable=SC2034 # the scripts ask for it
incremental=1
[ -z "${FULL:-}" ] || incremental=
me=$(basename "$0" .sh)
pids=() stops=()
daemon=

say() { printf '%s: %s (%d s)\n' "$me" "$1" "$SECONDS"; }
die() { printf '%s: %s\n' "$me" "$1" >&2; exit 1; }
skip() { printf '%s: SKIPPED: %s\n' "$me" "$1"; exit 0; }

begin() { # begin SECONDS "$@": starts again below a limit of time, makes $dir and sees to the end
  local limit=$1
  shift
  if [ "${REAL_BOUNDED:-}" != "$me" ]; then
    REAL_BOUNDED=$me exec timeout --kill-after=60 "$limit" "$0" "$@"
  fi
  [ -x "$bin/saas-export-daemon" ] || die "no programs in $bin: cargo build --workspace --bins, or SAAS_EXPORT_BIN_DIR"
  mkdir -p "$cache"
  dir=$(mktemp -d "/tmp/sxd-$me-XXXXXX")
  chmod 755 "$dir"
  trap finish EXIT
  trap 'exit 143' TERM INT
}

finish() {
  local status=$? pid stop
  if [ "$status" != 0 ] && [ -n "${KEEP:-}" ]; then
    echo "$me: left in $dir" >&2
  fi
  for pid in $daemon "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  for stop in "${stops[@]}"; do "$stop" >/dev/null 2>&1 || true; done
  wait 2>/dev/null || true
  { [ "$status" != 0 ] && [ -n "${KEEP:-}" ]; } || rm -rf "$dir"
}

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

wait_for() { # wait_for SECONDS COMMAND…: until the command succeeds
  local end=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$end" ] || { echo "$me: gave up waiting for: $*" >&2; return 1; }
    sleep 0.2
  done
}

answers() { curl -sf -o /dev/null --max-time 10 "$@"; }

packages() { # packages PACKAGE…: Debian packages that are needed
  [ "$(id -u)" = 0 ] || skip "needs $* (not root, cannot install them)"
  apt-get update -qq || true
  DEBIAN_FRONTEND=noninteractive apt-get install -yqq --no-install-recommends "$@" >/dev/null
}

python_ready() {
  if ! command -v curl >/dev/null || ! python3 -c 'import venv, ensurepip' 2>/dev/null; then
    packages python3-venv curl
  fi
}

venv() { # venv NAME PACKAGE…: a virtual environment with packages from PyPI, in the cache; sets $venv
  local what=$1
  venv=$cache/$1
  shift
  python_ready
  [ ! -e "$venv/.complete" ] || return 0
  say "installing $what from PyPI"
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$venv/bin/pip" install -q --disable-pip-version-check "$@" || return 1
  touch "$venv/.complete"
}

# shellcheck disable=SC2016 # apt fills it
mirror() { apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -v security | head -n 1; }

box() { # box NAME PACKAGE…: a Debian root with these packages, made once in the cache; sets $box to a copy in $dir
  local base=$cache/$1-root
  shift
  [ "$(id -u)" = 0 ] || skip "needs root, for a chroot with $*"
  python_ready
  command -v mmdebstrap >/dev/null || packages mmdebstrap
  command -v mmdebstrap >/dev/null || skip "mmdebstrap cannot be had here"
  if [ ! -e "$base/.complete" ]; then
    say "making a chroot with $*"
    rm -rf "$base"
    mmdebstrap --quiet --mode=root --variant=minbase --components=main --include="$(IFS=,; echo "$*")" "${box_hooks[@]}" \
      bookworm "$base" "$(mirror)" \
      >"$dir/mmdebstrap.log" 2>&1 || { tail -n 20 "$dir/mmdebstrap.log" >&2; rm -rf "$base"; skip "no chroot can be made here"; }
    touch "$base/.complete"
  fi
  box=$dir/root
  cp -a --reflink=auto "$base" "$box"
}
box_hooks=()

inside() { chroot "$box" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 HOME=/root "$@"; } # one command in the box

# serve SCRIPT: runs a shell script in the box as long as we live; all that it starts ends with it. It must not exec: a
# change of user forgets that the process shall end with its parent.
serve() {
  printf '%s\n' "$1" >"$box/serve.sh"
  unshare --mount --pid --fork --kill-child=KILL --mount-proc="$box/proc" \
    chroot "$box" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 sh /serve.sh >"$dir/box.log" 2>&1 &
  box_pid=$!
  stops+=(stop_box)
}
# Both unshare and the first process of a box are deaf to SIGTERM.
stop_box() { kill -KILL "$box_pid"; }

reader() { # reads Parquet with somebody else's code; without it only NDJSON is compared
  local venv
  venv reader --only-binary :all: pyarrow || { say "no pyarrow here: Parquet is not compared"; return 0; }
}

configure() { # configure STREAM…: the configuration around $dir/source.yaml, two exports of these streams
  local streams
  streams=$(IFS=,; echo "$*")
  {
    cat <<YAML
version: 1
daemon: { state_dir: $dir/state, socket: $dir/control.sock }
destinations:
  lake: { local: { root: $dir/lake } }
exports:
  lines: { source: app, streams: [$streams], to: [lake], format: { ndjson: {} }, chunk_size: ${chunk_size:-1MB} }
  columns: { source: app, streams: [$streams], to: [lake], format: { parquet: {} }, chunk_size: ${chunk_size:-1MB} }
sources:
  app:
YAML
    sed 's/^/    /' "$dir/source.yaml"
  } >"$dir/config.yaml"
  [ -e "$dir/auth.env" ] || (umask 077 && : >"$dir/auth.env")
}

secret() { (umask 077 && printf '%s="%s"\n' "$1" "${2//\"/\\\"}" >>"$dir/auth.env"); } # secret NAME VALUE

ctl() { "$bin/exportctl" --socket "$dir/control.sock" "$@"; }

start_daemon() {
  "$bin/saas-export-daemon" --config "$dir/config.yaml" --auth-env "$dir/auth.env" >>"$dir/daemon.log" 2>&1 &
  daemon=$!
  wait_for 30 ctl status || { tail -n 30 "$dir/daemon.log"; return 1; }
}

export_all() { # export_all: both exports with the daemon and exportctl, then both with `once`
  local job
  [ -n "$daemon" ] || start_daemon
  for job in lines columns; do
    ctl run "$job" --wait >"$dir/run.log" 2>&1 || {
      cat "$dir/run.log"
      tail -n 30 "$dir/daemon.log"
      die "exportctl run $job failed"
    }
    verify "$job"
    "$bin/saas-export-daemon" once "$job" --config "$dir/config.yaml" --auth-env "$dir/auth.env" \
      --output "$dir/once" --state-dir "$dir/once-state" >"$dir/once.log" 2>&1 || {
      tail -n 30 "$dir/once.log"
      die "saas-export-daemon once $job failed"
    }
  done
  say "exported"
}

last_task() { # last_task EXPORT
  ctl tasks --json | python3 -c 'import json, sys
v = json.load(sys.stdin)
print(next(t["id"] for t in (v if isinstance(v, list) else v["tasks"]) if t["export"] == sys.argv[1]))' "$1"
}

verify() { # verify EXPORT: its last task, by the ledger
  local task
  task=$(last_task "$1")
  ctl verify "$task" >"$dir/verify.log" 2>&1 || { cat "$dir/verify.log"; die "exportctl verify $task failed"; }
}

told() { # told MOST WRITTEN STREAM…: says what the last task of `lines` read and wrote of each stream; fails where the task
  # was not incremental, where the source gave more than MOST records, or where not WRITTEN were written
  [ -n "$incremental" ] || return 0
  ctl show "$(last_task lines)" --json | python3 -c 'import datetime, json, sys
me, most, written, *names = sys.argv[1:]
v = json.load(sys.stdin)
started, ended = (datetime.datetime.fromisoformat(v["task"][key].replace("Z", "+00:00")) for key in ("started_at", "ended_at"))
took = (ended - started).total_seconds()
for stream in (stream for stream in v["streams"] if stream["name"] in names):
    counts = stream["counts"]
    given = ", ".join(f"{counts[key]} {key}" for key in ("read", "written", "duplicate", "filtered"))
    print("{}: {}: {} run: {} in {} pages; the task took {:.1f} s".format(me, stream["name"], stream["mode"], given, stream["pages"], took), flush=True)
    if stream["mode"] != "incremental" or counts["read"] > int(most) or counts["written"] != int(written):
        sys.exit(f"{me}: should be incremental, at most {most} read and {written} written")' "$me" "$@"
}

at_rest() { # at_rest MOST STREAM…: `lines` again, while nothing changes: nothing is written
  local most=$1
  shift
  [ -n "$incremental" ] || return 0
  ctl run lines --wait >"$dir/run.log" 2>&1 || { cat "$dir/run.log"; die "exportctl run lines failed, with nothing new"; }
  told "$most" 0 "$@"
}

compare() { # compare STREAM TRUTH KEY [OPTION…]: every record of all four exports, with compare.py
  local stream=$1 truth=$2 key=$3 python=python3 place job
  shift 3
  [ ! -e "$cache/reader/.complete" ] || python=$cache/reader/bin/python
  for place in lake once; do
    for job in lines columns; do
      "$python" "$root/tests/real/compare.py" "$me" "$dir/$place/$job/$stream" "$truth" --key "$key" "$@"
    done
  done
}
