#!/usr/bin/env bash
# Exports WordPress, and compares every record with its MariaDB database: pages by number until the server refuses the one
# behind the last, and by the Link header; application password (basic); changes by `modified_after`.
#
#   tests/real/wordpress.sh [POSTS]      3,000 unless given
#
# WordPress, PHP and MariaDB run in a chroot of Debian packages, which root makes with mmdebstrap.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
begin 1800 "$@"
posts=${1:-3000}

# ---- install, start
box wordpress wordpress mariadb-server php-cli php-mysql
reader
port=$(free_port)
for name in default 127.0.0.1 127; do
  cat >"$box/etc/wordpress/config-$name.php" <<'PHP'
<?php define('DB_NAME', 'wp'); define('DB_USER', 'wp'); define('DB_PASSWORD', 'wp'); define('DB_HOST', 'localhost:/run/mysqld/mysqld.sock');
define('WP_HTTP_BLOCK_EXTERNAL', true); define('DISABLE_WP_CRON', true); define('AUTOMATIC_UPDATER_DISABLED', true);
define('WP_ENVIRONMENT_TYPE', 'local');
PHP
done
serve "install -d -o mysql /run/mysqld
mariadbd --user=mysql --skip-networking --socket=/run/mysqld/mysqld.sock --innodb-flush-log-at-trx-commit=0 &
PHP_CLI_SERVER_WORKERS=3 setpriv --reuid=www-data --regid=www-data --clear-groups \\
  php -S 127.0.0.1:$port -t /usr/share/wordpress"
sql() { inside mysql --default-character-set=utf8mb4 --raw -BN "$@"; }
wait_for 60 sql -e 'SELECT 1'
sql -e "CREATE DATABASE wp CHARACTER SET utf8mb4; CREATE USER wp@localhost IDENTIFIED BY 'wp'; GRANT ALL ON wp.* TO wp@localhost"
cat >"$box/install.php" <<PHP
<?php \$_SERVER['HTTP_HOST'] = '127.0.0.1:$port'; define('WP_INSTALLING', true);
require '/usr/share/wordpress/wp-load.php'; require_once ABSPATH . 'wp-admin/includes/upgrade.php';
add_filter('pre_wp_mail', '__return_true'); wp_install('t', 'admin', 'a@example.org', false, '', 'secret');
update_option('timezone_string', 'America/New_York'); update_option('siteurl', 'http://127.0.0.1:$port'); update_option('home', 'http://127.0.0.1:$port');
update_option('permalink_structure', '/%postname%/'); flush_rewrite_rules();
echo WP_Application_Passwords::create_new_application_password(1, ['name' => 'reader'])[0];
PHP
password=$(inside php /install.php)
[ "${#password}" = 24 ] || die "WordPress could not be installed: $password"

# ---- fill, where the application keeps its posts
sql wp -e "INSERT INTO wp_posts (post_author, post_date, post_date_gmt, post_content, post_title, post_excerpt, post_status,
    post_name, to_ping, pinged, post_modified, post_modified_gmt, post_content_filtered, post_type, guid)
  SELECT 1, d, d, CONCAT('<p>body ', seq, ' \"ünï\" €</p>\n\n', REPEAT('x', seq % 200)), CONCAT('post ', seq, ' ünï'), '', 'publish',
    CONCAT('p', seq), '', '', d, d, '', 'post', ''
  FROM (SELECT seq, UTC_TIMESTAMP() - INTERVAL (200000 - seq DIV 2) SECOND d FROM seq_1_to_$posts) x"
truth() {
  sql wp -e "SELECT JSON_OBJECT('id', ID, 'title.raw', post_title, 'content.raw', post_content, 'slug', post_name, 'status', post_status,
      'author', post_author, 'date_gmt', DATE_FORMAT(post_date_gmt, '%Y-%m-%dT%H:%i:%s'),
      'modified_gmt', DATE_FORMAT(post_modified_gmt, '%Y-%m-%dT%H:%i:%s'))
    FROM wp_posts WHERE post_type = 'post' AND post_status = 'publish'" >"$dir/truth"
}
truth
say "serves $(wc -l <"$dir/truth") posts"

# ---- export, and compare with the database
secret WP_PASSWORD "$password"
follow=''
# `modified_gmt` is in UTC and does not say so. `modified_after` is taken for the site's own time unless it has an offset, and
# asks for what is later, hence the second more.
[ -z "$incremental" ] ||
  follow='incremental: { cursor_field: modified_gmt, param: modified_after, start: 2000-01-01T00:00:00Z, look_back: 1s }'
cat >"$dir/source.yaml" <<YAML
rest:
  base_url: http://127.0.0.1:$port
  auth: { basic: { username: admin, password: "\${WP_PASSWORD}" } }
  query: { context: edit, orderby: id, order: asc }
  rate: { concurrency: 3 }
  streams:
    pages:
      path: /
      query: { rest_route: /wp/v2/posts }
      total: header X-WP-Total
      primary_key: [id]
      paginate: { page: { size_param: per_page, size: 100, end_status: [400] } }
      $follow
    links:
      path: /wp-json/wp/v2/posts
      query: { per_page: "50" }
      primary_key: [id]
      paginate: { link: {} }
      $follow
YAML
chunk_size=2MB configure pages links
export_all
comparisons() {
  compare pages "$dir/truth" id "$@"
  compare links "$dir/truth" id "$@"
}
comparisons

# ---- 20 changed and 3 added through the API; export again
ask() { curl -sf --max-time 60 -u "admin:$password" -H 'Content-Type: application/json' "$@"; }
for id in $(seq 100 100 2000); do
  ask -o /dev/null "http://127.0.0.1:$port/?rest_route=/wp/v2/posts/$id" -d '{"title":"changed ✓"}'
  echo "$id" >>"$dir/ids"
done
for n in 1 2 3; do
  ask "http://127.0.0.1:$port/?rest_route=/wp/v2/posts" -d "{\"title\":\"new $n\",\"status\":\"publish\"}" |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["id"])' >>"$dir/ids"
done
python3 -c 'import json, sys; print(json.dumps([int(id) for id in open(sys.argv[1])]))' "$dir/ids" >"$dir/moved"
truth
export_all
told 28 23 pages links # at the boundary and within a second before it are up to 5
comparisons ${incremental:+--moved "$dir/moved"}
at_rest 23 pages links
say "ok"
