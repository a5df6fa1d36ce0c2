#!/usr/bin/env bash
# The package on a machine with a kernel of its own (vm.sh): a far network, no memory, no threads, a journal without room, and power
# that is cut, each in the middle of an export to a directory, an S3 server and an SFTP server.
#
#   tests/systemd/kernel.sh [--bin-dir DIR]     by default the programs that `tests/run` has built
#
# Needs root. What is exported is compared with what the sample API says that it has, and with the bytes of an export that nothing
# disturbed, at each destination. `KEEP_BOX=1` leaves the machine running, to look into.
set -euo pipefail
cd "$(dirname "$0")/../.."
machine=vm.sh
export BOX_NAME=vm
# The machine is slow: fewer records than elsewhere, and a task still takes half a minute.
records=6000 page=50 per_second=8 middle=40
# shellcheck source-path=SCRIPTDIR/../..
. tests/systemd/lib.sh

# Each of the three has the bytes of the first.
everywhere() {
  finish "$1"
  is "$1: the other two have the same" "$(box bash -c "exportctl files $task | grep ^/srv/exports/ | xargs cat | sha256sum")" \
    bash -c "for root in /srv/s3/exports /home/partner/upload; do
      find \$root -path '*/$task/*.ndjson' | sort | xargs cat | sha256sum
    done | sort -u"
}

step "a package, and a server of objects"
packaging/build deb --bin-dir "$bin" --out "$out"
gateway=${STORES_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/saas-export-tests/stores}/bin/versitygw
if ! [ -x "$gateway" ]; then
  tests/stores/server.sh start versitygw "$out/store" >/dev/null
  tests/stores/server.sh stop "$out/store"
fi

step "a machine with a kernel of its own"
machine_with "$out/$package" "$gateway"
box bash -c 'cat >/etc/systemd/system/gateway.service' <<'E2'
[Service]
Environment=ROOT_ACCESS_KEY=export-tests ROOT_SECRET_KEY=export-tests-secret
ExecStart=/opt/versitygw --port 127.0.0.1:7070 posix /srv/s3
[Install]
WantedBy=multi-user.target
E2
box bash -c 'mkdir -p /srv/s3/exports && systemctl enable --quiet --now gateway
  useradd --create-home partner && echo partner:pw-of-the-tests | chpasswd && install -d -o partner /home/partner/upload'
install "$package"
configure "  lake: { local: { root: /srv/exports } }
  bucket: { s3: { bucket: exports, endpoint: http://127.0.0.1:7070, credentials: { static: { access_key_id: export-tests, secret_access_key: \"\${BUCKET_SECRET}\" } } } }
  partner: { sftp: { host: 127.0.0.1, user: partner, root: upload, auth: { password: { password: \"\${PARTNER_PASSWORD}\" } }, host_key: \"$(box cut -d' ' -f1,2 /etc/ssh/ssh_host_ed25519_key.pub)\" } }" \
  "lake, bucket, partner"
box bash -c 'cat >>/etc/export/auth.env' <<<"BUCKET_SECRET=export-tests-secret
PARTNER_PASSWORD=pw-of-the-tests"
is "the configuration" "/etc/export/config.yaml: ok" saas-export-daemon --check-config
holds "with the limits that are shipped" 'd=/etc/systemd/system/saas-export-daemon.service.d; mkdir -p $d &&
  cp /usr/share/doc/saas-export-daemon/examples/drop-ins/limits.conf $d/ && systemctl daemon-reload && systemctl start saas-export-daemon'
holds "which this kernel enforces" 'grep -qx 2147483648 /sys/fs/cgroup/system.slice/saas-export-daemon.service/memory.max'

step "undisturbed"
box exportctl run shop --wait >/dev/null
task=$(box exportctl tasks --limit 1 --json | jq -r '.[0].id')
everywhere "undisturbed"

step "a far network: 80 ms there and back, jitter, lost, doubled and late packets"
box tc qdisc add dev lo root netem delay 40ms 20ms distribution normal loss 1% duplicate 1% reorder 5%
begin
before=$(main_pid)
box kill -9 "$before"
until_holds "systemd has started it again" 60 "$(replaced "$before")"
everywhere "far away, and killed"
holds "packets were lost" "tc -s qdisc show dev lo | grep -q 'dropped [1-9]'"
box tc qdisc del dev lo root

step "no memory"
begin
before=$(main_pid)
# Below what it has in use: the kernel ends it.
box systemctl set-property --runtime saas-export-daemon MemoryHigh=infinity MemoryMax=8M
until_holds "the kernel has ended it" 60 "journalctl -u saas-export-daemon | grep -q 'oom-kill\|OOM killer'"
box systemctl set-property --runtime saas-export-daemon MemoryMax=2G
until_holds "it runs again" 60 "$(replaced "$before")"
everywhere "without memory"

step "no threads"
# A young daemon has few, and wants more for what comes.
box systemctl daemon-reload
box systemctl restart saas-export-daemon
box systemctl set-property --runtime saas-export-daemon TasksMax=1
begin
# Many at once ask it, too.
box bash -c 'for _ in $(seq 40); do timeout 60 exportctl tasks & done >/dev/null 2>&1; wait'
until_holds "it wanted more" 60 'grep -q "max [1-9]" /sys/fs/cgroup/system.slice/saas-export-daemon.service/pids.events'
sleep 5
box systemctl set-property --runtime saas-export-daemon TasksMax=512
everywhere "without threads"

step "a journal without room"
begin
box bash -c 'mount -t tmpfs -o size=9M tmpfs /var/log/journal && mkdir /var/log/journal/$(cat /etc/machine-id) &&
  systemctl restart systemd-journald && journalctl --flush; cat /dev/zero >/var/log/journal/full 2>/dev/null; df /var/log/journal | grep -q "100%"'
holds "nothing can be written there" '! sh -c "echo >/var/log/journal/more" 2>/dev/null'
everywhere "without a journal"
box bash -c 'umount -l /var/log/journal && systemctl restart systemd-journald && journalctl --flush'
before=$(main_pid)
begin
everywhere "with a journal again"
is "by the same daemon" "$before" systemctl show -P MainPID saas-export-daemon
holds "whose lines are there" "journalctl -q -o cat EXPORT_TASK=$task EXPORT_STATE=succeeded | grep -q ."

step "the power is cut twice"
# The servers lose what they had confirmed and not synced when the power of their own machine fails: to the directory alone.
configure '  lake: { local: { root: /srv/exports } }' lake
box systemctl restart saas-export-daemon
begin
"tests/systemd/$machine" power-failure
"tests/systemd/$machine" start
until_holds "the service comes up with the machine" 60 'systemctl is-active saas-export-daemon'
sleep 3
holds "the task is under way" '[ "$(exportctl tasks --state processing --json | jq length)" = 1 ]'
"tests/systemd/$machine" power-failure
"tests/systemd/$machine" start
until_holds "and once more" 60 'systemctl is-active saas-export-daemon'
finish "cut off twice"
holds "the ledger is as it should be" 'exportctl ledger check'

step "everything held"
