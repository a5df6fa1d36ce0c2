#!/usr/bin/env bash
# What can be said of the packages without a machine to install them on; tests/run calls it.
#
#   tests/packaging/run.sh                    units, maintainer scripts, lists: seconds, needs no program of ours
#   tests/packaging/run.sh packages BIN_DIR   builds both packages of these programs, twice, and looks into them (needs root for rpm --root)
#
set -euo pipefail
cd "$(dirname "$0")/../.."
# The most that `systemd-analyze security` may find, in tenths.
threshold=15
# The newest C library that the programs may need: what Ubuntu 22.04 and RHEL 9 have.
max_glibc=2.34
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "FAILED: $*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1 || { echo "note: $1 is missing: $2 is not looked at"; return 1; }; }

units() {
  local said
  have systemd-analyze "what systemd thinks of the units" || return 0
  # As on a machine that has them installed; their programs are elsewhere here.
  mkdir -p "$work/units"
  cp systemd/*.service systemd/*.socket "$work/units/"
  sed -i 's|^\(Exec[A-Za-z]*=\)/usr/bin/[a-z-]*|\1/bin/true|' "$work"/units/*.service
  said=$(SYSTEMD_UNIT_PATH="$work/units:" systemd-analyze verify --man=no "$work"/units/* 2>&1 | grep saas-export || true)
  [ -z "$said" ] || fail "systemd-analyze verify: $said"
  systemd-analyze security --offline=true --threshold=$threshold --no-pager systemd/saas-export-daemon.service >"$work/security" ||
    fail "systemd-analyze security: $(grep 'Overall exposure' "$work/security")"
  grep 'Overall exposure' "$work/security"
  for drop_in in systemd/drop-ins/*.conf; do
    # What a drop-in says is understood by systemd, too; one is for versions that this may be older than.
    [ "${drop_in##*/}" != notify-reload.conf ] || [ "$(systemctl --version | sed -n '1s/^systemd \([0-9]*\).*/\1/p')" -ge 253 ] || continue
    mkdir -p "$work/units/saas-export-daemon.service.d"
    cp "$drop_in" "$work/units/saas-export-daemon.service.d/"
  done
  said=$(SYSTEMD_UNIT_PATH="$work/units:" systemd-analyze verify --man=no "$work/units/saas-export-daemon.service" 2>&1 | grep saas-export || true)
  [ -z "$said" ] || fail "the drop-ins: $said"
}

scripts() {
  have shellcheck "the style of the scripts" || return 0
  shellcheck --severity=warning packaging/build packaging/layout tests/packaging/run.sh tests/systemd/*.sh
  shellcheck --severity=warning packaging/debian/postinst packaging/debian/prerm packaging/debian/postrm
  # The rpm's scripts, as rpm runs them.
  awk -v dir="$work" '/^%(post|preun|postun|posttrans)$/ { out = dir "/" substr($0, 2) ".sh"; print "#!/bin/sh" >out; next }
    /^%/ { out = "" } out { print >out }' packaging/rpm/saas-export-daemon.spec
  for script in post preun postun posttrans; do
    [ -s "$work/$script.sh" ] || fail "the spec has no %$script"
    shellcheck --severity=warning "$work/$script.sh"
  done
}

# Both packages make the same key in the same way, and every example that the documents name is shipped.
lists() {
  local name
  for name in packaging/debian/postinst packaging/rpm/saas-export-daemon.spec; do
    grep -q 'if \[.*! -e /etc/export/state-key \]' "$name" || fail "$name does not keep the key that is there"
  done
  while read -r name; do
    grep -q "${name##*/}" packaging/files || [[ $name == */drop-ins/* && -e systemd/drop-ins/${name##*/} ]] || [[ $name == *.yaml ]] ||
      fail "$name is named by a document and in no package"
  done < <(grep -rhoE '/usr/share/doc/saas-export-daemon/examples/[A-Za-z0-9._/-]+[a-z]' README.md docs systemd packaging/examples | sort -u)
}

glibc() { # glibc PROGRAM
  local needed
  needed=$(objdump -T "$1" | grep -oE 'GLIBC_[0-9.]+' | sort -uV | tail -n 1)
  [ "$(printf '%s\n' "${needed#GLIBC_}" $max_glibc | sort -V | tail -n 1)" = $max_glibc ] || fail "$1 needs $needed"
  echo "${1##*/} needs $needed at most"
}

mode() { # mode FILE WANTED, in $root
  local got
  got=$(stat -c '%a %U' "$root/$1" 2>&1) || fail "$1 is not installed"
  [ "$got" = "$2" ] || fail "$1 is $got, not $2"
}

contents() { # both packages hold the same, with these modes
  local root=$1
  mode usr/bin/saas-export-daemon "755 root"
  mode usr/bin/exportctl "755 root"
  mode etc/export/config.yaml "644 root"
  mode etc/export/auth.env "600 root"
  mode usr/lib/sysusers.d/saas-export-daemon.conf "644 root"
  mode usr/lib/tmpfiles.d/saas-export-daemon.conf "644 root"
  mode usr/share/bash-completion/completions/exportctl "644 root"
  mode usr/share/doc/saas-export-daemon/examples/drop-ins/limits.conf "644 root"
  mode usr/share/man/man8/saas-export-daemon.8.gz "644 root"
  mode usr/lib/systemd/catalog/saas-export-daemon.catalog "644 root"
  ! grep -q '^[^#]' "$root/etc/export/auth.env" || fail "the shipped auth.env holds something"
  [ ! -e "$root/etc/export/state-key" ] || fail "a key is shipped: it would be the same everywhere"
  for program in "$root"/usr/bin/*; do
    glibc "$program"
    ! grep -aqF -e "$PWD" -e "${CARGO_HOME:-$HOME/.cargo}" "$program" || echo "note: ${program##*/} names a path of the machine that built it"
  done
}

packages() {
  local bin=$1 name what
  what=all
  have dh "the .deb" || what=rpm
  have rpmbuild "the .rpm" || { [ $what = all ] || return 0; what=deb; }
  # Quickly, but as a release: lintian wants a package that is compressed.
  export DPKG_DEB_OPTIONS='-Zxz -z0'
  for name in one two; do
    # Somewhere else, at another time, with another umask: the same bytes.
    (
      umask 022
      [ "$name" = one ] || { umask 077; export TZ=Asia/Tokyo; }
      TMPDIR=$(mktemp -d -p "$work") packaging/build $what --bin-dir "$bin" --out "$work/$name"
    ) >"$work/$name.log" 2>&1 || { cat "$work/$name.log"; fail "packaging/build"; }
    sleep 1
  done
  (cd "$work/one" && sha256sum -- *) >"$work/sums"
  (cd "$work/two" && sha256sum --quiet -c "$work/sums") || fail "two packages of the same programs differ"
  echo "two builds, the same bytes: $(wc -l <"$work/sums") packages"
  if [ $what != rpm ]; then
    dpkg-deb -x "$work"/one/*.deb "$work/deb"
    contents "$work/deb"
    dpkg-deb -f "$work"/one/*.deb Depends
    [ "$(dpkg-deb --ctrl-tarfile "$work"/one/*.deb | tar -xO ./conffiles | sort | paste -sd' ')" = "/etc/export/auth.env /etc/export/config.yaml" ] ||
      fail "the conffiles are others"
    if have lintian "the .deb, by lintian"; then
      lintian --allow-root --fail-on error,warning "$work"/one/*.deb
    fi
  fi
  if [ $what != deb ]; then
    rpm -qp --requires "$work"/one/*.rpm | grep -oE 'GLIBC_[0-9.]+' | sort -uV | tail -n 1
    if [ "$(id -u)" = 0 ]; then
      rpm --root "$work/rpm" --initdb
      rpm --root "$work/rpm" -i --nodeps --noscripts "$work"/one/*.rpm
      contents "$work/rpm"
      [ "$(rpm --root "$work/rpm" -qc saas-export-daemon | sort | paste -sd' ')" = "/etc/export/auth.env /etc/export/config.yaml" ] ||
        fail "the rpm's configuration files are others"
      rpm --root "$work/rpm" -V --nodeps --noscripts saas-export-daemon || fail "rpm finds what it installed changed"
      rpm --root "$work/rpm" -e --nodeps --noscripts saas-export-daemon
      [ ! -e "$work/rpm/usr/bin/exportctl" ] || fail "rpm -e leaves programs"
    else
      echo "note: rpm --root needs root: not installed"
    fi
  fi
}

case ${1:-} in
packages) packages "$(realpath "$2")" ;;
*)
  units
  scripts
  lists
  ;;
esac
