//! What the daemon's help ends with. A test parses every example.

pub const TOP: &str = "\
Examples:
  saas-export-daemon --check-config                     every mistake, with file:line:column
  saas-export-daemon check                              does every way work? nothing is exported
  saas-export-daemon init --openapi spec.yaml           a source from an OpenAPI document
  saas-export-daemon once shop-nightly --output ./out   one run in the foreground
  saas-export-daemon auth login shop                    the first refresh token of an OAuth 2.0 source
  saas-export-daemon ledger restore SNAPSHOT --dry-run  what would become of the ledger?
  saas-export-daemon quarantine 20261121T0245 orders    records that were rejected, also sealed ones
  saas-export-daemon --print-drop-in                    what the unit needs for the configured directories
  systemctl start saas-export-daemon                    as a service; exportctl drives it

Exit codes: 0 ok, 1 failed, 2 usage, 4 no such export, 7 state directory in use or export paused, 8 cancelled,
78 bad configuration, 130 and 143 stopped by SIGINT and SIGTERM; the same command goes on from there";

pub const ONCE: &str = "\
It goes on where an interrupted run of the same export stands. Progress goes to stderr.

Examples:
  saas-export-daemon once shop-nightly --output ./out
  saas-export-daemon --config ./config.yaml --auth-env ./auth.env once crm --param region=eu --state-dir ./state
  saas-export-daemon once shop-nightly --full --format csv --chunk-size 200MB";

pub const AUTH: &str = "\
Examples:
  sudo saas-export-daemon auth login shop";

pub const LOGIN: &str = "\
Examples:
  sudo saas-export-daemon auth login shop
  sudo saas-export-daemon auth login shop --port 8765     where the API wants to know the redirect URL beforehand";

pub const CHECK: &str = "\
Exit code 1 if a step fails; warnings are no failures.

Examples:
  sudo -u saas-export saas-export-daemon check
  saas-export-daemon check crm --param region=eu --json";

pub const INIT: &str = "\
Examples:
  saas-export-daemon init --openapi spec.yaml --output config.yaml
  curl -s https://api.shop.example/openapi.json | saas-export-daemon init --openapi - --source shop";

pub const LEDGER: &str = "\
Examples:
  sudo saas-export-daemon ledger check
  sudo saas-export-daemon ledger restore ledger-20261121T024501Z.db
  sudo saas-export-daemon ledger rebuild";

pub const RESTORE: &str = "\
Exit codes: 0 done, 1 refused or failed, with nothing changed, 4 no such snapshot, 7 the daemon runs.

Examples:
  sudo systemctl stop saas-export-daemon
  sudo saas-export-daemon ledger restore ledger-20261121T024501Z.db --dry-run
  sudo saas-export-daemon ledger restore /mnt/backup/ledger.db --skip offsite    offsite is gone for good";

pub const REBUILD: &str = "\
Exit codes: 0 done, 1 refused or failed, with nothing changed, 7 the daemon runs.

Examples:
  sudo saas-export-daemon ledger rebuild --dry-run
  sudo saas-export-daemon ledger rebuild --from lake     lake has everything";

pub const QUARANTINE: &str = "\
Examples:
  sudo saas-export-daemon quarantine 20261121T0245
  sudo saas-export-daemon quarantine 20261121T0245 orders | jq -r .reason | sort | uniq -c";

pub const LEDGER_CHECK: &str = "\
Examples:
  sudo saas-export-daemon ledger check
  saas-export-daemon ledger check /mnt/backup/ledger-20261121T024501Z.db";
