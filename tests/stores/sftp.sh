#!/usr/bin/env bash
# An OpenSSH server for files on 127.0.0.1, for the tests of SFTP destinations.
#
#   eval "$(tests/stores/sftp.sh start)"    starts it and says where it is: SAAS_EXPORT_TEST_SFTP, a JSON object
#   tests/stores/sftp.sh stop               ends it and removes what it held
#
# Root and Debian's openssh-server are needed (it is installed where it is missing). It takes a key of its own making and a
# password, and serves a directory that is changed-root to. Exits with 3 where it cannot run here.
set -euo pipefail
# sshd wants a directory of root's, with none above it that others may write to.
dir=${SFTP_DIR:-/var/lib/saas-export-sftp-test} port=${SFTP_PORT:-22022}
user=sxd-sftp-test password=pw-of-the-sftp-tests

case ${1:-} in
start)
  if [ "$(id -u)" != 0 ]; then echo "note: sshd needs root" >&2; exit 3; fi
  if ! [ -x /usr/sbin/sshd ]; then
    apt-get update -qq >&2 || true
    # Its service is not wanted, only the program.
    DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 timeout 300 \
      apt-get install -yqq --no-install-recommends openssh-server >/dev/null 2>&1 ||
      { echo "note: openssh-server cannot be installed" >&2; exit 3; }
  fi
  "$0" stop
  mkdir -p "$dir/root" /run/sshd
  chmod 755 "$dir" "$dir/root"
  id "$user" >/dev/null 2>&1 || useradd --system --no-create-home --home-dir / --shell /usr/sbin/nologin "$user"
  echo "$user:$password" | chpasswd
  install -d -o "$user" -g "$(id -g "$user")" -m 755 "$dir/root/upload"
  for kind in ed25519 ecdsa; do ssh-keygen -q -t "$kind" -N '' -f "$dir/host_$kind"; done
  ssh-keygen -q -t ed25519 -N '' -C test -f "$dir/client_key"
  install -m 644 "$dir/client_key.pub" "$dir/authorized_keys"
  cat >"$dir/sshd_config" <<CONF
ListenAddress 127.0.0.1
Port $port
HostKey $dir/host_ed25519
HostKey $dir/host_ecdsa
PidFile $dir/sshd.pid
AuthorizedKeysFile $dir/authorized_keys
UsePAM no
PasswordAuthentication yes
KbdInteractiveAuthentication no
PermitRootLogin no
AllowUsers $user
MaxStartups 100
# New keys every two megabytes, so that the tests pass that, too.
RekeyLimit 2M
Subsystem sftp internal-sftp
ForceCommand internal-sftp -u 0027
ChrootDirectory $dir/root
AllowTcpForwarding no
X11Forwarding no
PermitTTY no
LogLevel VERBOSE
CONF
  /usr/sbin/sshd -f "$dir/sshd_config" -E "$dir/sshd.log"
  for kind in ed25519 ecdsa; do
    printf '[127.0.0.1]:%s %s\n' "$port" "$(cut -d' ' -f1,2 "$dir/host_$kind.pub")"
  done >"$dir/known_hosts"
  for _ in $(seq 100); do
    if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then break; fi
    sleep 0.1
  done
  fingerprint=$(ssh-keygen -lf "$dir/host_ed25519.pub" | cut -d' ' -f2)
  printf "export SAAS_EXPORT_TEST_SFTP='%s'\n" \
    "{\"host\":\"127.0.0.1\",\"port\":$port,\"user\":\"$user\",\"root\":\"/upload\",\"known_hosts\":\"$dir/known_hosts\",\
\"private_key\":\"$dir/client_key\",\"password\":\"$password\",\"fingerprint\":\"$fingerprint\",\"local_root\":\"$dir/root/upload\"}"
  ;;
stop)
  if [ -f "$dir/sshd.pid" ]; then
    pid=$(cat "$dir/sshd.pid")
    # Those that serve a connection are its children, and would hold the user.
    for child in $(pgrep -P "$pid" || true) "$pid"; do kill "$child" 2>/dev/null || true; done
    for _ in $(seq 50); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
  fi
  rm -rf "$dir"
  ;;
*)
  echo "usage: $0 start|stop" >&2
  exit 2
  ;;
esac
