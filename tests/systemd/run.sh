#!/usr/bin/env bash
# The packages on a machine with a real systemd: installed, driven, killed, cut off, upgraded, removed, each with what must hold.
#
#   tests/systemd/run.sh [--bin-dir DIR]     by default the programs that `tests/run` has built
#
# Needs root, and the tools of packaging/build. What the exports bring is compared with what the sample API says that it has,
# and with the bytes of an export that nothing disturbed. `KEEP_BOX=1` leaves the box running, to look into.
set -euo pipefail
cd "$(dirname "$0")/../.."
machine=box.sh
export BOX_NAME=packages
# Records, and how many a page; with a page each 1/20 s a task takes ten seconds, and half of it is the middle.
records=20000 page=100 per_second=20 middle=100

# shellcheck source-path=SCRIPTDIR/../..
. tests/systemd/lib.sh

step "two packages from the same programs"
packaging/build deb --bin-dir "$bin" --out "$out"
packaging/build deb --bin-dir "$bin" --out "$out" --version "$version+1"
first=$package second=${package/_"$version"_/_"$version+1"_}

step "a machine with systemd"
machine_with "$out/$first" "$out/$second"

step "installation"
install "$first"
for file in 'config.yaml 644 root' 'auth.env 600 root' 'state-key 600 root'; do
  is "mode of ${file%% *}" "${file#* } root" stat -c '%a %U %G' "/etc/export/${file%% *}"
done
is "the key is long enough" 32 stat -c %s /etc/export/state-key
is "where the example exports to" "2750 saas-export saas-export" stat -c '%a %U %G' /srv/exports
is "the user has no shell" /usr/sbin/nologin bash -c 'getent passwd saas-export | cut -d: -f7'
for group in admin operator viewer; do holds "the group $group" "getent group saas-export-$group"; done
is "enabled for the next start" $'enabled\nenabled' systemctl is-enabled saas-export-daemon.service saas-export-daemon.socket
is "not started before there is something to do" inactive systemctl is-active saas-export-daemon
holds "the units are as systemd wants them" \
  '! systemd-analyze verify /lib/systemd/system/saas-export-daemon.{service,socket} 2>&1 | grep -v "man .* failed"'
holds "the manual" 'test -s /usr/share/man/man8/saas-export-daemon.8.gz && test -s /usr/share/man/man1/exportctl.1.gz'

step "two files, and a start"
key=$(box sha256sum /etc/export/state-key)
configure '  lake: { local: { root: /srv/exports } }' lake
is "the configuration" "/etc/export/config.yaml: ok" saas-export-daemon --check-config
box systemctl start saas-export-daemon
is "it runs" active systemctl is-active saas-export-daemon
is "its status is a sentence" "0 running, 0 paused, 0 queued" systemctl show -P StatusText saas-export-daemon
is "as its user" saas-export bash -c 'stat -c %U /proc/$(systemctl show -P MainPID saas-export-daemon)'
holds "and without a capability" 'grep -q "^CapEff:.0000000000000000$" /proc/$(systemctl show -P MainPID saas-export-daemon)/status'

step "exportctl run --wait"
box exportctl run shop --wait >/dev/null
task=$(box exportctl tasks --limit 1 --json | jq -r '.[0].id')
finish "undisturbed"
is "no record is lost" "$records" bash -c "exportctl show $task --json | jq '.streams[0].counts.written'"

step "pause and resume"
begin
box exportctl pause shop >/dev/null
until_holds "paused within 2 s" 2 "test \$(exportctl show $task --json | jq -r .task.state) = paused"
asked=$(api truth | jq .requests)
sleep 1.5
is "nothing is asked meanwhile" "$asked" bash -c 'curl -s http://127.0.0.1:8099/_control/truth | jq .requests'
until_holds "the status says so" 10 'test "$(systemctl show -P StatusText saas-export-daemon)" = "0 running, 1 paused, 0 queued"'
box exportctl resume shop >/dev/null
finish "paused and resumed"

step "reload in the middle of an export"
begin
box sed -i 's/^exports:/exports:\n  more: { source: shop, to: [lake], format: { csv: {} } }/' /etc/export/config.yaml
holds "systemctl reload" 'systemctl reload saas-export-daemon'
holds "what was added is there" 'exportctl exports --json | jq -e "any(.[]; .name == \"more\")"'
box sed -i 's/^version: 1/version: 1\ncolour: blue/' /etc/export/config.yaml
holds "a mistake is refused" '! systemctl reload saas-export-daemon'
until_holds "with its place, in the journal" 5 'journalctl -u saas-export-daemon | grep -q "config.yaml:2:.*colour"'
is "and the daemon runs on" active systemctl is-active saas-export-daemon
box sed -i '/^colour/d' /etc/export/config.yaml
holds "secrets that were changed need a restart, and reload says so" 'touch /etc/export/auth.env && exportctl reload 2>&1 | grep -q "secrets: systemd handed"'
finish "reloaded"

step "a wrong configuration is not tried again"
box sed -i 's/^version: 1/version: 1\ncolour: blue/' /etc/export/config.yaml
holds "the start fails" '! systemctl restart saas-export-daemon 2>/dev/null'
sleep 7
is "it stays down, with its exit code" "failed 78 0" \
  bash -c 'echo $(systemctl show --value -p ActiveState -p ExecMainStatus -p NRestarts saas-export-daemon | sort -r)'
box sed -i '/^colour/d' /etc/export/config.yaml
holds "mended, it starts" 'systemctl start saas-export-daemon && exportctl status'

step "systemctl restart in the middle of an export"
begin
box systemctl restart saas-export-daemon
finish "restarted"

step "kill -9 in the middle of an export"
begin
before=$(main_pid)
box kill -9 "$before"
until_holds "systemd has started it again" 30 "$(replaced "$before")"
finish "killed"
holds "it is the same task, recovered" "journalctl -u saas-export-daemon EXPORT_TASK=$task | grep -q recovered"

step "power failure in the middle of an export"
begin
tests/systemd/box.sh power-failure
tests/systemd/box.sh start
until_holds "the service comes up with the machine" 30 'systemctl is-active saas-export-daemon'
finish "cut off"

step "watchdog: a daemon that stands still"
box bash -c 'mkdir -p /run/systemd/system/saas-export-daemon.service.d
  printf "[Service]\nWatchdogSec=3\n" >/run/systemd/system/saas-export-daemon.service.d/watchdog.conf
  systemctl daemon-reload && systemctl restart saas-export-daemon'
begin
before=$(main_pid)
box kill -STOP "$before"
until_holds "systemd has ended it and started another" 40 "$(replaced "$before")"
holds "because of the watchdog" 'journalctl -u saas-export-daemon | grep -qi "watchdog timeout"'
finish "stood still"
box bash -c 'rm -r /run/systemd/system/saas-export-daemon.service.d && systemctl daemon-reload && systemctl restart saas-export-daemon'

step "upgrade in the middle of an export"
begin
before=$(main_pid)
install "$second"
is "the new version" "$version+1" dpkg-query -W -f '${Version}' saas-export-daemon
is "it runs" active systemctl is-active saas-export-daemon
[ "$(main_pid)" != "$before" ] || fail "the upgrade did not restart the daemon"
finish "upgraded"
is "the key is the one of the installation" "$key" sha256sum /etc/export/state-key
holds "and the configuration is ours" 'grep -q 127.0.0.1:8099 /etc/export/config.yaml'

step "the journal"
holds "the task's lines, by a field" "journalctl -u saas-export-daemon EXPORT_TASK=$task | grep -q ."
holds "its end is one line, by its message" "test \$(journalctl -q -o cat EXPORT_TASK=$task EXPORT_STATE=succeeded | wc -l) = 1"
holds "which the catalog explains" "journalctl -q -x EXPORT_TASK=$task EXPORT_STATE=succeeded | grep -q 'A task has succeeded'"
holds "exportctl logs shows the same" "exportctl logs $task -x | grep -q 'A task has succeeded'"
holds "with explanations" 'journalctl -x -u saas-export-daemon | grep -q "░░"'
holds "no secret is in it" '! journalctl | grep -F "tok-5f1c"'

step "drop-ins"
holds "--print-drop-in" 'mkdir -p /data/more && sed "s|root: /srv/exports|root: /data/more|" /etc/export/config.yaml >/tmp/more.yaml &&
  saas-export-daemon --config /tmp/more.yaml --print-drop-in | grep -qx "ReadWritePaths=-/data/more"'
holds "it and what is shipped, all together" 'd=/etc/systemd/system/saas-export-daemon.service.d; mkdir -p $d &&
  saas-export-daemon --config /tmp/more.yaml --print-drop-in >$d/directories.conf &&
  cp /usr/share/doc/saas-export-daemon/examples/drop-ins/{limits,network,error-log}.conf $d/ &&
  systemctl daemon-reload && systemctl restart saas-export-daemon &&
  ! journalctl -b _PID=1 | grep saas-export-daemon.service.d/'
begin
finish "with every drop-in"
is "the error log is closed to others" "750 saas-export 640 saas-export" \
  bash -c 'echo $(stat -c "%a %U" /var/log/saas-export /var/log/saas-export/errors.log)'
box sed -i 's/^version: 1/version: 7/' /etc/export/config.yaml
box systemctl kill --signal=HUP saas-export-daemon
until_holds "errors.log has what the journal has" 10 "jq -e 'select(.level == \"error\") | .message | contains(\"not reloaded\")' /var/log/saas-export/errors.log"
box sed -i 's/^version: 7/version: 1/' /etc/export/config.yaml
holds "encrypted secrets" 'd=/etc/systemd/system/saas-export-daemon.service.d; cd /etc/export &&
  for name in auth.env state-key; do systemd-creds encrypt --with-key=host --name=$name $name $name.cred && mv $name /root/ || exit 1; done &&
  cp /usr/share/doc/saas-export-daemon/examples/drop-ins/encrypted-credentials.conf $d/ &&
  systemctl daemon-reload && systemctl restart saas-export-daemon'
begin
finish "with encrypted secrets"
box bash -c 'cp -p /root/auth.env /root/state-key /etc/export/ && rm /etc/export/*.cred
  rm -r /etc/systemd/system/saas-export-daemon.service.d && systemctl daemon-reload && systemctl restart saas-export-daemon'

step "an older ledger, and what was published since"
holds "a snapshot of the running ledger" 'exportctl ledger backup && exportctl ledger check'
box exportctl run shop --wait >/dev/null
task=$(box exportctl tasks --limit 1 --json | jq -r '.[0].id')
holds "a daemon that runs is not restored" '! exportctl ledger restore $(ls /var/lib/saas-export/snapshots | tail -n 1) 2>/dev/null'
holds "restored, with the task that was published since" "systemctl stop saas-export-daemon.service saas-export-daemon.socket &&
  exportctl ledger restore \$(ls /var/lib/saas-export/snapshots | tail -n 1) --json | jq -e 'any(.adopted[]; .task == \"$task\")'"
is "it belongs to the daemon's user" saas-export stat -c %U /var/lib/saas-export/ledger.db
holds "and is as it should be" 'systemctl start saas-export-daemon && exportctl ledger check'
finish "after a restore"
holds "rebuilt of what is published" "systemctl stop saas-export-daemon.service saas-export-daemon.socket &&
  exportctl ledger rebuild --from lake && systemctl start saas-export-daemon && exportctl ledger check"
finish "after a rebuild"

step "who may do what"
tests/systemd/access.sh "$task"

step "removal keeps the state"
box apt-get remove -y -o Dpkg::Use-Pty=0 saas-export-daemon >/dev/null
holds "nothing runs, nothing listens" \
  '! systemctl is-active saas-export-daemon.service saas-export-daemon.socket && test ! -e /run/saas-export/control.sock'
holds "ledger, key, configuration and exports stay" 'test -s /var/lib/saas-export/ledger.db && test -s /etc/export/state-key &&
  grep -q 8099 /etc/export/config.yaml && ls /srv/exports/shop/orders/*/part-0-000000.ndjson'
install "$second"
box systemctl start saas-export-daemon
finish "installed again"

step "purge removes the state, and not the exports"
box apt-get purge -y -o Dpkg::Use-Pty=0 saas-export-daemon >/dev/null
holds "no state, no key, no logs" 'test ! -e /var/lib/saas-export && test ! -e /etc/export/state-key && test ! -e /var/log/saas-export'
holds "no configuration" 'test ! -e /etc/export'
holds "what was published is there" 'ls /srv/exports/shop/orders/*/part-0-000000.ndjson && test ! -e /srv/exports/.saas-export'
holds "the user stays, so that nobody gets its id" 'getent passwd saas-export'
is "systemd misses nothing" "" systemctl --failed --plain --no-legend

if command -v rpmbuild >/dev/null; then
  step "what the rpm's scripts do"
  packaging/build rpm --bin-dir "$bin" --out "$out"
  script() { rpm -qp --queryformat "%{$1}" "$out"/*.rpm 2>/dev/null | box sh -s "$2" >/dev/null; }
  rpm --root "$out/tree" --initdb
  rpm --root "$out/tree" -i --nodeps --noscripts "$out"/*.rpm 2>/dev/null
  tar -C "$out/tree" -cf - etc usr | box tar -C / -xf - --no-overwrite-dir
  box deluser --quiet saas-export
  script POSTIN 1
  script POSTTRANS 1
  key=$(box sha256sum /etc/export/state-key)
  is "a key" "600 root 32" stat -c '%a %U %s' /etc/export/state-key
  is "the user, and its directory" "2750 saas-export" stat -c '%a %U' /srv/exports
  holds "it starts" 'systemctl start saas-export-daemon && exportctl status'
  before=$(main_pid)
  script POSTIN 2
  script POSTUN 1
  until_holds "an upgrade restarts what runs" 10 "$(replaced "$before")"
  is "and keeps the key" "$key" sha256sum /etc/export/state-key
  script PREUN 0
  script POSTUN 0
  holds "a removal stops it" '! systemctl is-active saas-export-daemon.service saas-export-daemon.socket'
  holds "and keeps the state" 'test -s /var/lib/saas-export/ledger.db && test -s /etc/export/state-key'
fi

step "everything held"
