#!/usr/bin/env bash
# Two web servers on 127.0.0.1 that take files by PUT, for the tests of HTTP destinations: nginx, whose PUT knows no
# conditions, and Apache, whose PUT does.
#
#   eval "$(tests/stores/http.sh start)"    starts them and says where they are: SAAS_EXPORT_TEST_HTTP, a JSON object
#   tests/stores/http.sh stop               ends them and removes what they held
#
# Debian's nginx-light and apache2-bin are needed (they are installed where they are missing). Exits with 3 where they
# cannot run here. Both want `Authorization: Bearer …` with the token they tell.
set -euo pipefail
dir=${HTTP_DIR:-/tmp/saas-export-http-test} port=${HTTP_PORT:-22080}
token='token-of-the-http-tests'

install_missing() {
  [ "$(id -u)" = 0 ] || { echo "note: $1 is missing" >&2; exit 3; }
  apt-get update -qq >&2 || true
  # Their services are not wanted, only the programs.
  DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 timeout 300 \
    apt-get install -yqq --no-install-recommends "$2" >/dev/null 2>&1 || { echo "note: $2 cannot be installed" >&2; exit 3; }
}

case ${1:-} in
start)
  [ -x /usr/sbin/nginx ] || install_missing nginx nginx-light
  [ -x /usr/sbin/apache2 ] || install_missing apache2 apache2-bin
  "$0" stop
  mkdir -p "$dir/nginx/files" "$dir/nginx/temporary" "$dir/apache/files"
  # As root, the workers are another user.
  chmod -R 777 "$dir"
  cat >"$dir/nginx.conf" <<CONF
pid $dir/nginx.pid;
error_log $dir/nginx.log;
worker_processes 1;
events { worker_connections 256; }
http {
  access_log off;
  types { }
  default_type application/octet-stream;
  client_max_body_size 0;
  client_body_temp_path $dir/nginx/temporary;
  server {
    listen 127.0.0.1:$port;
    location / {
      if (\$http_authorization != "Bearer $token") { return 401; }
      root $dir/nginx/files;
      dav_methods PUT DELETE;
      create_full_put_path on;
      dav_access user:rw group:r;
    }
    # Tokens as the tests' own token server gives them.
    location /oauth/ {
      if (\$http_authorization !~ "^Bearer canary-access-[0-9]+") { return 401; }
      root $dir/nginx/files;
      dav_methods PUT DELETE;
      create_full_put_path on;
    }
    location = /moved { return 307 http://127.0.0.1:$((port + 1))/elsewhere; }
    location /write-only/ {
      root $dir/nginx/files;
      dav_methods PUT;
      create_full_put_path on;
      limit_except PUT { deny all; }
    }
  }
}
CONF
  modules=/usr/lib/apache2/modules
  cat >"$dir/apache.conf" <<CONF
ServerRoot $dir/apache
ServerName 127.0.0.1
Listen 127.0.0.1:$((port + 1))
PidFile $dir/apache.pid
ErrorLog $dir/apache.log
LoadModule mpm_event_module $modules/mod_mpm_event.so
LoadModule authz_core_module $modules/mod_authz_core.so
LoadModule setenvif_module $modules/mod_setenvif.so
LoadModule dav_module $modules/mod_dav.so
LoadModule dav_fs_module $modules/mod_dav_fs.so
LoadModule rewrite_module $modules/mod_rewrite.so
User www-data
Group www-data
DocumentRoot $dir/apache/files
DavLockDB $dir/apache/locks
SetEnvIf Authorization "^Bearer $token\$" known
<Directory $dir/apache/files>
  Dav on
  Require env known
</Directory>
CONF
  chown -R www-data "$dir/apache" 2>/dev/null || true
  /usr/sbin/nginx -c "$dir/nginx.conf" 2>/dev/null
  /usr/sbin/apache2 -f "$dir/apache.conf" -k start
  for at in "$port" "$((port + 1))"; do
    for _ in $(seq 100); do
      if (exec 3<>"/dev/tcp/127.0.0.1/$at") 2>/dev/null; then break; fi
      sleep 0.1
    done
  done
  printf "export SAAS_EXPORT_TEST_HTTP='%s'\n" \
    "{\"nginx\":\"http://127.0.0.1:$port\",\"apache\":\"http://127.0.0.1:$((port + 1))\",\"token\":\"$token\",\
\"nginx_root\":\"$dir/nginx/files\",\"apache_root\":\"$dir/apache/files\"}"
  ;;
stop)
  for file in "$dir/nginx.pid" "$dir/apache.pid"; do
    [ -f "$file" ] || continue
    pid=$(cat "$file")
    kill "$pid" 2>/dev/null || true
    for _ in $(seq 50); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
  done
  rm -rf "$dir"
  ;;
*)
  echo "usage: $0 start|stop" >&2
  exit 2
  ;;
esac
