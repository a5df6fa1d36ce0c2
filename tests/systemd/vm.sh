#!/usr/bin/env bash
# A machine with a kernel of its own, for what that of a container refuses: delays of the network (netem), limits of memory that
# hold, power that is cut. A Debian under qemu without hardware help: slow. Needs root; the commands are those of box.sh.
#
#   vm.sh start               makes the machine where there is none, boots it, waits until systemd has settled
#   vm.sh run COMMAND…        runs a command inside: input, output and exit status are its own
#   vm.sh put FILE… DIR       copies files into it
#   vm.sh power-failure       its power is cut: what was not synced is gone
#   vm.sh destroy             ends it and removes its disk; the system that it was made of stays for the next
#
# Environment: BOX_DIR (/var/tmp/saas-export-box) where it lies, BOX_SUITE (bookworm) which Debian, BOX_NAME (vm), VM_PORT (22990),
# VM_ACCEL (tcg: slow, and works everywhere).
# Nothing inside reaches the outside.
set -euo pipefail
dir=${BOX_DIR:-/var/tmp/saas-export-box} suite=${BOX_SUITE:-bookworm} name=${BOX_NAME:-vm} port=${VM_PORT:-22990}
packages=systemd,systemd-sysv,dbus,udev,openssh-server,linux-image-cloud-amd64,iproute2,ca-certificates,adduser,curl,jq,procps
base=$dir/vm-$suite-$(printf %s "$packages" | sha256sum | cut -c 1-8) vm=$dir/$name
self=$(realpath "$0")
ssh=(ssh -q -i "$base/key" -p "$port" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o ConnectTimeout=5
  -o ServerAliveInterval=5 -o ControlMaster=auto -o ControlPersist=600 -o ControlPath="$vm/ssh" root@127.0.0.1)

fail() { echo "vm.sh: $*" >&2; exit 1; }

alive() { # its own process, not another that has the number now, nor what is left of it
  [ -s "$vm/pid" ] && grep -qsF "file=$vm/disk," "/proc/$(cat "$vm/pid")/cmdline"
}

make_base() { # the disk that every machine begins with
  local mirror root=$base/root
  [ ! -e "$base/.done" ] || return 0
  if ! { command -v mmdebstrap && command -v qemu-system-x86_64 && command -v mkfs.ext4 && command -v ssh; } >/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -yqq --no-install-recommends \
      mmdebstrap qemu-system-x86 e2fsprogs openssh-client >/dev/null
  fi
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -v security | head -n 1)
  rm -rf "$base"
  mkdir -p "$base"
  ssh-keygen -q -t ed25519 -N '' -f "$base/key"
  mmdebstrap --mode=root --variant=minbase --include="$packages" --aptopt='Acquire::Languages "none"' \
    --essential-hook='mkdir -p "$1/etc/initramfs-tools/conf.d" && echo MODULES=list >"$1/etc/initramfs-tools/conf.d/few" &&
      printf "virtio_pci\nvirtio_blk\next4\n" >"$1/etc/initramfs-tools/modules"' \
    "$suite" "$root" "${mirror%/}" >"$base.log" 2>&1 || { tail -n 20 "$base.log" >&2; fail "no $suite could be installed"; }
  install -D -m 600 "$base/key.pub" "$root/root/.ssh/authorized_keys"
  echo "$name" >"$root/etc/hostname"
  mkdir -p "$root/var/log/journal"
  printf '[Match]\nName=en*\n[Network]\nDHCP=yes\n' >"$root/etc/systemd/network/10-qemu.network"
  chroot "$root" systemctl enable --quiet systemd-networkd
  for unit in apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer dpkg-db-backup.timer fstrim.timer \
    systemd-networkd-wait-online.service; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
  done
  cp "$root"/boot/vmlinuz-* "$base/vmlinuz"
  cp "$root"/boot/initrd.img-* "$base/initrd"
  truncate -s 4G "$base/disk"
  mkfs.ext4 -q -d "$root" "$base/disk"
  rm -rf "$root"
  touch "$base/.done"
}

start() {
  make_base
  ! alive || fail "it runs already"
  mkdir -p "$vm"
  [ -e "$vm/disk" ] || cp --sparse=always "$base/disk" "$vm/disk"
  qemu-system-x86_64 -machine "q35,accel=${VM_ACCEL:-tcg},vmport=off" -cpu max -smp 2 -m 1536 -display none -no-reboot \
    -kernel "$base/vmlinuz" -initrd "$base/initrd" \
    -append 'root=/dev/vda rw console=ttyS0 systemd.show_status=false mitigations=off quiet' -serial "file:$vm/console.log" \
    -drive "file=$vm/disk,if=virtio,format=raw,cache=writeback" -device virtio-rng-pci -device virtio-net-pci,netdev=n \
    -netdev "user,id=n,restrict=on,hostfwd=tcp:127.0.0.1:$port-:22" -daemonize -pidfile "$vm/pid"
  for _ in $(seq 180); do
    alive || { tail -n 5 "$vm/console.log" >&2; fail "it ended while it started"; }
    case $(run systemctl is-system-running 2>/dev/null || true) in running | degraded) return 0 ;; esac
    sleep 1
  done
  tail -n 5 "$vm/console.log" >&2
  fail "it did not settle within three minutes"
}

run() { "${ssh[@]}" "$(printf '%q ' /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 TERM=dumb \
  SYSTEMD_PAGER=cat DEBIAN_FRONTEND=noninteractive "$@")"; }

put() { tar -C / -cf - --transform='s,.*/,,' "${@:1:$#-1}" 2>/dev/null | run tar -C "${@: -1}" -xf - --no-same-owner; }

power_failure() {
  local pid
  alive || return 0
  pid=$(cat "$vm/pid")
  kill -KILL "$pid"
  # Its port is free when nothing but its number is left.
  for _ in $(seq 100); do
    grep -qs '^State:[[:space:]]*[^ZX]' "/proc/$pid/status" || break
    sleep 0.1
  done
  "${ssh[@]}" -O exit 2>/dev/null || true
  rm -f "$vm/pid" "$vm/ssh"
}

command=${1:-}
[ $# -eq 0 ] || shift
case $command in
start) start ;;
run) run "$@" ;;
put) put "$@" ;;
power-failure) power_failure ;;
destroy) power_failure; rm -rf "$vm" ;;
*) sed -n '2,14s/^# \{0,1\}//p' "$self" >&2; exit 2 ;;
esac
