#!/usr/bin/env bash
# Object stores that nobody here wrote, for the tests of destinations.
#
#   tests/stores/server.sh start NAME DIR   installs it if it is missing, starts it on loopback, makes a bucket, and prints the
#                                           variables that the tests read; its files and its pid are in DIR
#   tests/stores/server.sh stop DIR
#
# NAME: versitygw minio s3s garage moto (S3), azurite (Azure). Installed by the registries' own clients into
# the cache; what cannot be installed here is said, with status 3. Every server ends by its own pid, at the latest after an hour.
set -euo pipefail
cache=${STORES_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/saas-export-tests/stores}
bucket=exports key=export-tests secret=export-tests-secret
mkdir -p "$cache/bin"

die() { printf 'stores: %s\n' "$1" >&2; exit 3; }
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

install_go() { # install_go BINARY MODULE@VERSION
  [ ! -x "$cache/bin/$1" ] || return 0
  command -v go >/dev/null || die "$1 needs go"
  GOBIN=$cache/bin GOFLAGS=-modcacherw timeout 1500 go install "$2" >"$cache/$1.log" 2>&1 || die "$1 cannot be installed: $cache/$1.log"
}

install_cargo() { # install_cargo BINARY ARGUMENTS…
  local binary=$1
  shift
  [ ! -x "$cache/bin/$binary" ] || return 0
  CARGO_TARGET_DIR=$cache/target CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_LTO=off \
    CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 timeout 7200 cargo install --locked --root "$cache" "$@" >"$cache/$binary.log" 2>&1 ||
    die "$binary cannot be installed: $cache/$binary.log"
  rm -rf "$cache/target"
}

answers() { # answers COMMAND…: until it succeeds, for 30 s
  for _ in $(seq 150); do
    ! "$@" >/dev/null 2>&1 || return 0
    sleep 0.2
  done
  tail -n 20 "$dir/log" >&2
  die "$name does not answer"
}

run() { # run COMMAND…: in the background, bounded
  cd "$dir"
  timeout --kill-after=10 "${STORE_SECONDS:-3600}" "$@" >"$dir/log" 2>&1 &
  echo $! >"$dir/pid"
}

make_bucket() {
  local empty=e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
  answers curl -sf -o /dev/null --max-time 10 --aws-sigv4 "aws:amz:us-east-1:s3" -u "$key:$secret" \
    -H "x-amz-content-sha256: $empty" -X PUT "http://127.0.0.1:$port/$bucket"
}

print_s3() { # print_s3 [DIRECTORY OF THE BUCKET'S FILES]
  printf 'SAAS_EXPORT_TEST_S3={"s3":{"bucket":"%s","endpoint":"http://127.0.0.1:%s","credentials":{"static":{"access_key_id":"%s","secret_access_key":"%s"}}}}\n' \
    "$bucket" "$port" "$key" "$secret"
  [ -z "${1:-}" ] || printf 'SAAS_EXPORT_TEST_S3_DIR=%s\n' "$1"
}

start() {
  mkdir -p "$dir/data"
  port=$(free_port)
  case $name in
  versitygw)
    install_go versitygw github.com/versity/versitygw/cmd/versitygw@latest
    ROOT_ACCESS_KEY=$key ROOT_SECRET_KEY=$secret run "$cache/bin/versitygw" --port "127.0.0.1:$port" posix "$dir/data"
    make_bucket
    print_s3 "$dir/data/$bucket"
    ;;
  minio)
    install_go minio github.com/minio/minio@latest
    MINIO_ROOT_USER=$key MINIO_ROOT_PASSWORD=$secret MINIO_UPDATE=off \
      run "$cache/bin/minio" server --quiet --address "127.0.0.1:$port" --console-address "127.0.0.1:$(free_port)" "$dir/data"
    make_bucket
    print_s3
    ;;
  s3s)
    install_cargo s3s-fs s3s-fs --version 0.14.1 --features binary
    run "$cache/bin/s3s-fs" --host 127.0.0.1 --port "$port" --access-key "$key" --secret-key "$secret" "$dir/data"
    make_bucket
    print_s3
    ;;
  garage) garage ;;
  moto)
    if [ ! -x "$cache/moto/bin/moto_server" ]; then
      python3 -m venv "$cache/moto" || die "moto needs python3-venv"
      "$cache/moto/bin/pip" install -q --disable-pip-version-check 'moto[server]' >"$cache/moto.log" 2>&1 || die "moto: $cache/moto.log"
    fi
    run "$cache/moto/bin/moto_server" -H 127.0.0.1 -p "$port"
    make_bucket
    print_s3
    ;;
  azurite) azurite ;;
  *) die "there is no $name" ;;
  esac
}

garage() {
  install_cargo garage garage --version 2.5.0 --no-default-features --features bundled-libs,sqlite
  key=GK000000000000000000000001 secret=$(printf 'a%.0s' $(seq 64))
  local rpc admin
  rpc=$(free_port) admin=$(free_port)
  cat >"$dir/garage.toml" <<T
metadata_dir = "$dir/meta"
data_dir = "$dir/data"
db_engine = "sqlite"
replication_factor = 1
rpc_bind_addr = "127.0.0.1:$rpc"
rpc_public_addr = "127.0.0.1:$rpc"
rpc_secret = "$(head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n')"
[s3_api]
s3_region = "us-east-1"
api_bind_addr = "127.0.0.1:$port"
[admin]
api_bind_addr = "127.0.0.1:$admin"
T
  run "$cache/bin/garage" -c "$dir/garage.toml" server
  g() { "$cache/bin/garage" -c "$dir/garage.toml" "$@" >/dev/null; }
  answers g status
  g layout assign -z dc1 -c 10G "$("$cache/bin/garage" -c "$dir/garage.toml" node id -q | cut -d@ -f1)"
  g layout apply --version 1
  g key import --yes -n test "$key" "$secret"
  g bucket create "$bucket"
  g bucket allow --read --write --owner "$bucket" --key "$key"
  print_s3
}

azurite() {
  if [ ! -x "$cache/azurite/node_modules/.bin/azurite-blob" ]; then
    command -v npm >/dev/null || die "azurite needs npm"
    mkdir -p "$cache/azurite"
    (cd "$cache/azurite" && echo '{}' >package.json &&
      timeout 900 npm install --no-fund --no-audit --loglevel error azurite >"$cache/azurite.log" 2>&1) || die "azurite: $cache/azurite.log"
  fi
  # The account and key that every Azurite has.
  local account=devstoreaccount1
  local known=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==
  run "$cache/azurite/node_modules/.bin/azurite-blob" --blobHost 127.0.0.1 --blobPort "$port" --location "$dir/data" --silent --skipApiVersionCheck
  cat >"$dir/container.py" <<'P'
import base64, email.utils, hashlib, hmac, sys, urllib.request
port, account, key, bucket = sys.argv[1:]
date, version = email.utils.formatdate(usegmt=True), "2021-08-06"
text = f"PUT\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:{date}\nx-ms-version:{version}\n/{account}/{account}/{bucket}\nrestype:container"
sign = base64.b64encode(hmac.new(base64.b64decode(key), text.encode(), hashlib.sha256).digest()).decode()
url = f"http://127.0.0.1:{port}/{account}/{bucket}?restype=container"
headers = {"x-ms-date": date, "x-ms-version": version, "Authorization": f"SharedKey {account}:{sign}", "Content-Length": "0"}
urllib.request.urlopen(urllib.request.Request(url, method="PUT", headers=headers), timeout=10)
P
  answers python3 "$dir/container.py" "$port" "$account" "$known" "$bucket"
  printf 'SAAS_EXPORT_TEST_AZURE={"azure":{"account":"%s","container":"%s","endpoint":"http://127.0.0.1:%s/%s","credentials":{"key":"%s"}}}\n' \
    "$account" "$bucket" "$port" "$account" "$known"
}

case ${1:-} in
start)
  name=$2 dir=$3
  start
  ;;
stop)
  dir=$2
  if [ -f "$dir/pid" ]; then
    pid=$(cat "$dir/pid")
    kill "$pid" 2>/dev/null || true
    # It writes to its directory to its very end.
    for _ in $(seq 120); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
  fi
  rm -rf "$dir"
  ;;
*) die "usage: start NAME DIR | stop DIR" ;;
esac
