#!/usr/bin/env bash
# A mail server (Debian's Exim) on 127.0.0.1, for the tests of notifications.
#
#   eval "$(tests/stores/smtp.sh start)"    starts it and says where it is: SAAS_EXPORT_TEST_SMTP, a JSON object
#   tests/stores/smtp.sh stop               ends it and removes what it held
#   tests/stores/smtp.sh status             whether it runs
#
# STARTTLS on the first port, TLS from the first byte on the next; a login is offered behind TLS alone. Every mail becomes one
# file (Maildir). bounce@ is refused for good (550), defer@ for now (451), and so is whoever stands in the file `deferred`.
# Root and Debian's exim4-daemon-light are needed (it is installed where it is missing). Exits with 3 where it cannot run here.
set -euo pipefail
dir=${SMTP_DIR:-/var/lib/saas-export-smtp-test} port=${SMTP_PORT:-22025}
user=exports password='pw-of-the-mail-tests+/='

case ${1:-} in
start)
  if [ "$(id -u)" != 0 ]; then echo "note: exim needs root" >&2; exit 3; fi
  if ! [ -x /usr/sbin/exim4 ] || ! command -v openssl >/dev/null; then
    apt-get update -qq >&2 || true
    # Its service is not wanted, only the program.
    DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 timeout 300 \
      apt-get install -yqq --no-install-recommends exim4-daemon-light openssl >/dev/null 2>&1 ||
      { echo "note: exim4-daemon-light cannot be installed" >&2; exit 3; }
  fi
  "$0" stop
  umask 022
  mkdir -p "$dir"/{mail/new,mail/cur,mail/tmp,spool,log,tls}
  (
    cd "$dir/tls"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=mail-test-ca -keyout ca.key -out ca.pem
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost -keyout server.key -out server.csr
    openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 \
      -extfile <(echo "subjectAltName=DNS:localhost,IP:127.0.0.1") -out server.pem
  ) >/dev/null 2>&1
  : >"$dir/deferred"
  cat >"$dir/exim.conf" <<CONF
primary_hostname = localhost
spool_directory = $dir/spool
log_file_path = $dir/log/%slog
pid_file_path = $dir/exim.pid
local_interfaces = <; [127.0.0.1]:$port ; [127.0.0.1]:$((port + 1))
tls_on_connect_ports = $((port + 1))
tls_advertise_hosts = *
tls_certificate = $dir/tls/server.pem
tls_privatekey = $dir/tls/server.key
auth_advertise_hosts = \${if eq{\$tls_in_cipher}{}{}{*}}
acl_smtp_rcpt = recipient
acl_smtp_data = content
never_users =
keep_environment =
rfc1413_query_timeout = 0s
host_lookup =
message_size_limit = 10M
smtp_accept_max = 100
begin acl
recipient:
  deny   local_parts = bounce
         message = 550 5.1.1 no such user
  defer  local_parts = defer : lsearch;$dir/deferred
         message = 451 4.2.0 try later
  accept
content:
  accept
begin routers
all:
  driver = accept
  transport = files
begin transports
files:
  driver = appendfile
  maildir_format
  directory = $dir/mail
  create_directory
  envelope_to_add
  return_path_add
  mode = 0644
  user = Debian-exim
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_condition = \${if and{{eq{\$auth2}{$user}}{eq{\$auth3}{$password}}}}
  server_set_id = \$auth2
  server_prompts = :
CONF
  # Its configuration stays root's: it takes no other.
  chown -R Debian-exim: "$dir"/{mail,spool,log,tls,deferred}
  chown Debian-exim: "$dir"
  exim4 -C "$dir/exim.conf" -bd -q1m >&2
  for _ in $(seq 100); do
    if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then break; fi
    sleep 0.1
  done
  printf "export SAAS_EXPORT_TEST_SMTP='%s'\n" \
    "{\"host\":\"localhost\",\"starttls\":$port,\"implicit\":$((port + 1)),\"user\":\"$user\",\"password\":\"$password\",\
\"ca_file\":\"$dir/tls/ca.pem\",\"mail\":\"$dir/mail/new\",\"deferred\":\"$dir/deferred\"}"
  ;;
stop)
  if [ -f "$dir/exim.pid" ]; then
    pid=$(cat "$dir/exim.pid")
    kill "$pid" 2>/dev/null || true
    for _ in $(seq 50); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
  fi
  rm -rf "$dir"
  ;;
status)
  if [ -f "$dir/exim.pid" ] && kill -0 "$(cat "$dir/exim.pid")" 2>/dev/null; then echo running; else echo stopped; exit 1; fi
  ;;
*)
  echo "usage: $0 start|stop|status" >&2
  exit 2
  ;;
esac
