//! What the help of each command ends with: what to know, and examples that work. A test parses every one of them.

pub const TOP: &str = "\
Examples:
  exportctl status                               how is everything?
  exportctl run shop-nightly --wait              export now, and wait for the end
  exportctl run crm --param region=eu --format csv
  exportctl schedule                             what runs by itself, and when
  exportctl watch                                live progress of whatever runs
  exportctl tasks --state failed                 what went wrong lately?
  exportctl show 20261121T0245                   why; the start of a task's id is enough
  exportctl retry 20261121T0245                  go on from where it stands
  exportctl pause --all                          e.g. before maintenance of the source
  exportctl get shop-nightly -o ./shop           download the newest published files
  exportctl reload --dry-run                     what would a changed config.yaml do?
  exportctl tasks --json | jq -r '.[].id'        every command speaks JSON
";

pub const STATUS: &str = "\
Examples:
  exportctl status
  exportctl status --json | jq '.sources[] | {source, rate, limit, waiting}'   why is it slow?
  exportctl status --json | jq -e '.ledger.healthy'                            for a monitor";

pub const EXPORTS: &str = "\
Examples:
  exportctl exports
  exportctl exports --json | jq -r '.[] | select(.paused) | .name'";

pub const RUN: &str = "\
A request equal to one whose task is still open gives that task.
Ctrl-C while waiting detaches: the task goes on.

Examples:
  exportctl run shop-nightly
  exportctl run shop-nightly --wait --timeout 2h
  exportctl run crm --param region=eu --param since=2026-01-01 --format parquet
  exportctl run shop-nightly --notify ops-mail                        mail me when it has ended
  exportctl run shop-nightly --full                                   everything again
  exportctl run shop-nightly --stream orders --from 2026-01-01 --to 2026-01-31T23:59:59Z";

pub const TASKS: &str = "\
Examples:
  exportctl tasks --export shop-nightly --limit 5
  exportctl tasks --state failed,cancelled
  exportctl tasks --json | jq -r '.[] | [.id, .state, .reason] | @tsv'";

pub const SHOW: &str = "\
Shows the streams, the destinations, what was read again or left out, and why it waits or failed.

Examples:
  exportctl show 20261121T0245
  exportctl show 20261121T0245 --json | jq '.streams[] | {name, counts, notes}'";

pub const WATCH: &str = "\
Ctrl-C detaches: the task goes on. In a pipe, a line every few seconds.

Examples:
  exportctl watch
  exportctl watch 20261121T024501Z-9f86d081";

pub const PAUSE: &str = "\
Within two seconds, also over a restart. Deliveries of what is in the spool go on. A paused EXPORT starts no new task either.

Examples:
  exportctl pause 20261121T0245
  exportctl pause shop-nightly
  exportctl pause --all";

pub const RESUME: &str = "\
Examples:
  exportctl resume 20261121T0245
  exportctl resume shop-nightly
  exportctl resume --all               exports that are paused, too";

pub const CANCEL: &str = "\
What was published before stays as it is. `retry` takes a cancelled task up again, from where it stood.

Examples:
  exportctl cancel 20261121T0245
  exportctl cancel shop-nightly
  exportctl cancel --all --yes";

pub const RETRY: &str = "\
Examples:
  exportctl retry 20261121T0245
  exportctl show 20261121T0245         first: why did it fail?";

pub const DELIVER: &str = "\
--to takes a destination that is configured now. What is no longer in the spool is read from another destination of the
task and compared on the way; files, manifest and latest.json come as if it had always been there.
--drop releases what a dead destination holds in the spool; --to fills it back later.

Examples:
  exportctl deliver 20261121T0245 --to offsite
  exportctl deliver 20261121T0245 --drop offsite";

pub const VERIFY: &str = "\
Where a destination says a checksum of its own, that is compared; elsewhere, and with --deep, every byte is read.

Examples:
  exportctl verify 20261121T0245
  exportctl verify 20261121T0245 --destination offsite --deep
  exportctl verify --dir /srv/exports/shop/orders      no daemon is asked: also for a copy on another machine
  exportctl verify --path DIR --public-key KEY.pem     and its manifests must have this key's signature";

pub const FILES: &str = "\
Plain output is one absolute path per line, of one destination, for other programs.

Examples:
  exportctl files shop-nightly --latest
  exportctl files shop-nightly --latest --json | jq '.files[] | {path, rows, sha256}'
  duckdb -c \"select count(*) from read_parquet([$(exportctl files shop --latest | sed \"s/.*/'&'/\" | paste -sd,)])\"";

pub const URL: &str = "\
The link is a secret: it is printed here and nowhere else. Destinations that cannot make links say so; `get` works everywhere.

Examples:
  exportctl url 20261121T0245 orders/part-0-000000.parquet
  exportctl url shop-nightly part-0-000000.parquet --expires 15m --destination offsite";

pub const GET: &str = "\
Files go to DIR/STREAM/NAME, each checked while it is written; what is there and right is kept, so that an interrupted
download goes on when it is repeated. Nothing is ever overwritten.

Examples:
  exportctl get 20261121T0245 -o ./shop
  exportctl get shop-nightly -o ./shop --destination offsite
  exportctl get shop-nightly orders/part-0-000000.parquet -o .";

pub const PRUNE: &str = "\
The daemon does the same by itself after each publication and every hour. The newest chain is never touched.

Examples:
  exportctl prune --dry-run                   what would go, what stays, and why
  exportctl prune shop-nightly --yes";

pub const CHECK: &str = "\
Nothing is exported: each stream is asked for one page, and a small file is written, read back and deleted.
Exit code 1 if a step fails; warnings are no failures.

Examples:
  exportctl check
  exportctl check crm --param region=eu
  exportctl check --json | jq '.steps[] | select(.result == \"fail\")'";

pub const OFFSETS: &str = "\
Examples:
  exportctl offsets show shop-nightly            the marks: where its next task starts
  exportctl offsets reset shop-nightly --yes     the next task reads everything";

pub const OFFSETS_SHOW: &str = "\
Examples:
  exportctl offsets show 20261121T0245
  exportctl offsets show shop-nightly > marks.json";

pub const OFFSETS_SET: &str = "\
Examples:
  exportctl offsets show shop-nightly > marks.json && editor marks.json && exportctl offsets set shop-nightly marks.json
  exportctl pause TASK && exportctl offsets show TASK > offsets.json
  editor offsets.json && exportctl offsets set TASK offsets.json && exportctl resume TASK";

pub const OFFSETS_RESET: &str = "\
Examples:
  exportctl offsets reset shop-nightly --yes                   the next task reads everything, as a new chain
  exportctl offsets reset 20261121T0245 --stream orders --yes  this task reads one stream again";

pub const SCHEMA: &str = "\
Examples:
  exportctl schema shop-nightly                      field, type and column of every stream; nothing is stored
  exportctl schema shop-nightly --stream orders --format csv
  exportctl schema diff shop-nightly                 the last two tasks
  exportctl schema diff 20261120T0245 20261121T0245";

pub const SCHEMA_DIFF: &str = "\
Examples:
  exportctl schema diff shop-nightly
  exportctl schema diff 20261120T0245 20261121T0245";

pub const LEDGER_RESTORE: &str = "\
It runs saas-export-daemon ledger restore with the same arguments; `saas-export-daemon ledger restore --help` names them.

Examples:
  sudo systemctl stop saas-export-daemon
  sudo exportctl ledger restore ledger-20261121T024501Z.db --dry-run   what would be adopted and cancelled?
  sudo exportctl ledger restore /mnt/backup/ledger.db --skip offsite";

pub const LEDGER_REBUILD: &str = "\
It runs saas-export-daemon ledger rebuild with the same arguments; `saas-export-daemon ledger rebuild --help` names them.

Examples:
  sudo exportctl ledger rebuild --dry-run
  sudo exportctl ledger rebuild --from lake";

pub const CONFIG: &str = "\
Examples:
  exportctl config check";

pub const CONFIG_CHECK: &str = "\
Examples:
  exportctl config check && exportctl reload
  exportctl config check --json | jq -r '.problems[]'";

pub const RELOAD: &str = "\
Both files are read and checked as a whole: a mistake refuses everything, and the configuration before stays in force. Each
line of the answer is a change; what needs a restart is marked. An open task keeps the configuration it began with, and runs to
its end even if its export is gone; rates, windows and retention count at once.

Examples:
  exportctl reload --dry-run           what would change?
  exportctl reload
  systemctl reload saas-export-daemon  the same";

pub const VERSION: &str = "\
Examples:
  exportctl version
  exportctl version --json | jq -r .daemon.version";

pub const COMPLETIONS: &str = "\
The packages install them already.

Examples:
  exportctl completions bash > /etc/bash_completion.d/exportctl
  exportctl completions zsh > ~/.zfunc/_exportctl
  exportctl completions fish > ~/.config/fish/completions/exportctl.fish";

pub const QUERY: &str = "\
GET /v1/openapi.json describes every path; `curl --unix-socket` does the same.

Examples:
  exportctl query GET /v1/tasks?limit=3
  exportctl query GET '/v1/events?since=0&follow'
  exportctl query POST /v1/exports/crm/run --data '{\"params\": {\"region\": \"eu\"}}'";

pub const WAITREADY: &str = "\
Exit code 6 if it does not in time.

Examples:
  exportctl waitready --timeout 2m && exportctl run shop-nightly --wait";

pub const SCHEDULE: &str = "\
Times are shown as a clock in the time zone of the schedule shows them, and in UTC. `pause EXPORT` stops a schedule.

Examples:
  exportctl schedule
  exportctl schedule shop-nightly --next 5
  exportctl schedule --json | jq -r '.[] | [.export, .next[0].at] | @tsv'";

pub const METRICS: &str = "\
Examples:
  exportctl metrics
  exportctl metrics | grep stale";

pub const NOTIFICATIONS: &str = "\
Recipients stand under notify: in the configuration; `run --notify NAME` tells one of them how that task ends.

Examples:
  exportctl notifications                            newest first
  exportctl notifications --state given_up --recipient ops-mail
  exportctl notifications retry msg_5d41402abc4b2a76b9719d911017c592
  exportctl notifications test ops-mail              does it arrive?";

pub const LOGS: &str = "\
Reading the journal takes root or the group systemd-journal (or adm).

Examples:
  exportctl logs                                  the last lines of the daemon
  exportctl logs 20261121T0245 -x                 everything about a task, with causes and remedies
  exportctl logs shop-nightly -f                  follow an export
  exportctl logs --priority warning --since -1d   what went wrong since yesterday?
  exportctl logs shop-nightly --json | jq -r '.EXPORT_STREAM'";

pub const NOTIFICATIONS_LIST: &str = "\
Examples:
  exportctl notifications list --state waiting
  exportctl notifications list --json | jq -r '.[] | select(.state == \"given_up\") | .error'";

pub const NOTIFICATIONS_RETRY: &str = "\
Examples:
  exportctl notifications retry msg_5d41402abc4b2a76b9719d911017c592";

pub const NOTIFICATIONS_TEST: &str = "\
The message goes out at once, and not through the outbox.

Examples:
  exportctl notifications test ops-mail";

pub const LEDGER: &str = "\
Examples:
  exportctl ledger backup
  exportctl ledger check
  exportctl ledger snapshots
  sudo exportctl ledger restore ledger-20261121T024501Z.db --dry-run
  sudo exportctl ledger rebuild";

pub const LEDGER_BACKUP: &str = "\
The daemon goes on meanwhile. The snapshot lies in the daemon's state directory; it holds what the ledger knows of your exports,
but none of their secrets. The daemon takes one by itself every day (daemon.snapshots in its configuration).

Examples:
  exportctl ledger backup
  exportctl ledger backup -o /mnt/backup/ledger.db     also to a file that this user can write
  exportctl ledger backup --json | jq -r .sha256";

pub const LEDGER_SNAPSHOTS: &str = "\
Examples:
  exportctl ledger snapshots
  exportctl ledger snapshots --json | jq -r '.[0].name'           the newest";

pub const LEDGER_CHECK: &str = "\
Reads the whole file, its references, the hashes of the audit, and compares what the ledger promises with what is in it.
Exit code 1 if something is wrong; below each problem stands what to do.

Examples:
  exportctl ledger check
  exportctl ledger check --json | jq '.steps[] | select(.problems)'";
