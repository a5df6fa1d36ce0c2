#!/usr/bin/env bash
# A machine of its own to install packages in: a Debian with a real systemd as PID 1, in a container. Needs root.
#
#   box.sh start               makes the box where there is none, boots it, waits until systemd has settled
#   box.sh run COMMAND…        runs a command inside: input, output and exit status are its own
#   box.sh put FILE… DIR       copies files into it
#   box.sh power-failure       every process of the box dies at once; what is on its disk stays
#   box.sh destroy             ends it and removes its disk; the system that it was made of stays for the next
#
# Environment: BOX_DIR (/var/tmp/saas-export-box) where it lies, BOX_SUITE (bookworm) which Debian, BOX_NAME (box).
# It has no network but loopback. Limits of memory and tasks are accepted but not enforced: its groups lie beside the host's.
set -euo pipefail
dir=${BOX_DIR:-/var/tmp/saas-export-box} suite=${BOX_SUITE:-bookworm} name=${BOX_NAME:-box}
# Never systemd-coredump: its installation sets the core pattern of the host.
packages=systemd,systemd-sysv,dbus,ca-certificates,adduser,curl,jq,procps
base=$dir/base-$suite-$(printf %s "$packages" | sha256sum | cut -c 1-8) box=$dir/$name
self=$(realpath "$0")

fail() { echo "box.sh: $*" >&2; exit 1; }

leader() { # PID 1 of the box, seen from here
  # Not another process that has the number now.
  [ -s "$box/leader" ] && [ "$(ps -o ppid=,comm= -p "$(cat "$box/leader")" | xargs)" = "$(cat "$box/nspawn") systemd" ] && cat "$box/leader"
}

make_base() { # the system that every box is made of
  local mirror unit
  [ ! -e "$base/.done" ] || return 0
  if ! command -v mmdebstrap >/dev/null || ! command -v systemd-nspawn >/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -yqq --no-install-recommends mmdebstrap systemd-container >/dev/null
  fi
  # The mirror that this machine itself is installed from.
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -v security | head -n 1)
  rm -rf "$base"
  mkdir -p "$base"
  mmdebstrap --mode=root --variant=minbase --include="$packages" --aptopt='Acquire::Languages "none"' \
    "$suite" "$base" "${mirror%/}" >"$base.log" 2>&1 || { tail -n 20 "$base.log" >&2; fail "no $suite could be installed"; }
  : >"$base/etc/machine-id"
  echo "$name" >"$base/etc/hostname"
  mkdir -p "$base/var/log/journal"
  for unit in apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer dpkg-db-backup.timer fstrim.timer console-getty.service; do
    ln -sf /dev/null "$base/etc/systemd/system/$unit"
  done
  touch "$base/.done"
}

inner() { # in a mount name space of its own: what is mounted here goes with the box
  local groups=/sys/fs/cgroup
  mount --make-rprivate /
  # The host keeps its layout, whatever that is; the box sees the unified one.
  umount -R "$groups" 2>/dev/null || true
  mount -t cgroup2 cgroup2 "$groups"
  mkdir -p "$groups/saas-export-box/$name"
  echo $$ >"$groups/saas-export-box/$name/cgroup.procs"
  mount -t tmpfs tmpfs /run/systemd
  mount -t overlay overlay -o "lowerdir=$base,upperdir=$box/disk,workdir=$box/work" "$box/root"
  exec systemd-nspawn --quiet --keep-unit --register=no --settings=no --directory="$box/root" --machine="$name" --console=pipe \
    --link-journal=no --resolv-conf=off --timezone=off --private-network --kill-signal=SIGRTMIN+4 \
    --capability=CAP_BPF,CAP_SYS_RESOURCE --system-call-filter=bpf \
    --boot systemd.show_status=false systemd.log_target=journal
}

start() {
  local nspawn child
  make_base
  ! leader >/dev/null || fail "it runs already"
  mkdir -p "$box"/{disk,work,root}
  rm -f "$box/leader"
  setsid unshare --mount "$self" inner </dev/null >"$box/console.log" 2>&1 &
  nspawn=$!
  echo "$nspawn" >"$box/nspawn"
  for _ in $(seq 600); do
    kill -0 "$nspawn" 2>/dev/null || { cat "$box/console.log" >&2; fail "it ended while it started"; }
    child=$(awk '{ print $1 }' "/proc/$nspawn/task/$nspawn/children" 2>/dev/null || true)
    if [ -n "$child" ] && [ "$(cat "/proc/$child/comm" 2>/dev/null)" = systemd ]; then
      echo "$child" >"$box/leader"
      case $(run systemctl is-system-running 2>/dev/null || true) in running | degraded) return 0 ;; esac
    fi
    sleep 0.1
  done
  fail "it did not settle within a minute"
}

run() (
  l=$(leader) || fail "it does not run"
  # Into its control group, so that journald and systemd see the command as one of theirs.
  unified=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
  [ -z "$unified" ] || echo "$BASHPID" >"$unified$(sed -n 's/^0:://p' "/proc/$l/cgroup")/cgroup.procs" 2>/dev/null || true
  exec nsenter -t "$l" -a -- /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 TERM=dumb \
    SYSTEMD_PAGER=cat DEBIAN_FRONTEND=noninteractive "$@"
)

put() {
  tar -C / -cf - --transform='s,.*/,,' "${@:1:$#-1}" 2>/dev/null | run tar -C "${@: -1}" -xf - --no-same-owner
}

power_failure() {
  local l nspawn
  l=$(leader) || return 0
  nspawn=$(cat "$box/nspawn")
  kill -KILL "$l"
  for _ in $(seq 100); do
    kill -0 "$nspawn" 2>/dev/null || { rm -f "$box/leader"; return 0; }
    sleep 0.1
  done
  kill -KILL "$nspawn" 2>/dev/null || true
  rm -f "$box/leader"
}

command=${1:-}
[ $# -eq 0 ] || shift
case $command in
start) start ;;
run) run "$@" ;;
put) put "$@" ;;
power-failure) power_failure ;;
inner) inner ;;
destroy) power_failure; rm -rf "$box" ;;
*) sed -n '2,12s/^# \{0,1\}//p' "$self" >&2; exit 2 ;;
esac
