#!/usr/bin/env bash
# Exports MLflow, a tracker of experiments, and compares every record with its SQLite database: runs (POST, the cursor
# `page_token` in the JSON body) and experiments (GET, the same cursor in the query). No credentials.
#
#   tests/real/mlflow.sh [RUNS]      5,001 unless given (an odd number, so that a new run has the time of the last one)
#
# MLflow comes from PyPI.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
begin 900 "$@"
runs=${1:-5001}

# ---- install, start
venv mlflow mlflow
mlflow=$venv
reader
port=$(free_port)
cd "$dir"
MLFLOW_DISABLE_TELEMETRY=true DO_NOT_TRACK=true "$mlflow/bin/mlflow" server --host 127.0.0.1 --port "$port" --workers 1 \
  --backend-store-uri "sqlite:///$dir/mlflow.db" --default-artifact-root "$dir/artifacts" >mlflow.log 2>&1 &
pids+=($!)
api=http://127.0.0.1:$port/api/2.0/mlflow
wait_for 90 answers "http://127.0.0.1:$port/health"

# ---- fill: experiments through the API, runs where the application keeps them
post() { curl -sf --max-time 60 "$api/$1" -H 'Content-Type: application/json' -d "$2"; }
for n in $(seq 40); do post experiments/create "{\"name\":\"experiment $n ünï\",\"tags\":[{\"key\":\"k\",\"value\":\"v$n\"}]}" >/dev/null; done
post runs/create '{"experiment_id":"0","run_name":"through the API","start_time":1}' >/dev/null
cat >fill.py <<'PY'
"""fill.py FIRST COUNT: adds runs, most with a parameter and a metric; prints their ids."""
import json, sqlite3, sys

db = sqlite3.connect("mlflow.db", timeout=60)
first, count = map(int, sys.argv[1:])
columns = [row[1] for row in db.execute("PRAGMA table_info(runs)")]
pattern = dict(zip(columns, db.execute("SELECT * FROM runs ORDER BY start_time LIMIT 1").fetchone()))
def insert(table, **row):
    db.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", list(row.values()))

ids = []
for n in range(first, first + count):
    start = 1_700_000_000_000 + n // 2  # each time twice
    row = {**pattern, "run_uuid": f"{n:032x}", "name": f"run {n} \"ünï\"\n", "start_time": start, "end_time": start + n % 7}
    insert("runs", **row) if n % 10 else insert("runs", **{**row, "status": "FAILED", "end_time": None})
    if n % 5:
        insert("params", key="lr", value=str(n / 7), run_uuid=row["run_uuid"])
        metric = {"key": "loss", "value": n / 3, "timestamp": start, "step": n, "is_nan": 0, "run_uuid": row["run_uuid"]}
        insert("metrics", **metric)
        insert("latest_metrics", **metric)
    ids.append(row["run_uuid"])
db.commit()
print(json.dumps(ids))
PY
cat >truth.py <<'PY'
import json, sqlite3

db = sqlite3.connect("mlflow.db", timeout=60)
def table(text):
    cursor = db.execute(text)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row)) for row in cursor]

def write(name, records):
    with open(name, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(record) + "\n" for record in records)

params = {row["run_uuid"]: [{"key": row["key"], "value": row["value"]}] for row in table("SELECT * FROM params")}
metrics = {row["run_uuid"]: [{k: row[k] for k in ("key", "value", "timestamp", "step")}] for row in table("SELECT * FROM latest_metrics")}
def run(row):
    id = row["run_uuid"]
    record = {"info.run_id": id, "info.run_name": row["name"], "info.status": row["status"], "info.start_time": row["start_time"],
              "info.experiment_id": str(row["experiment_id"]), "info.lifecycle_stage": row["lifecycle_stage"]}
    return {**record, **({"info.end_time": row["end_time"]} if row["end_time"] else {}),
            **({"data.params": params[id], "data.metrics": metrics[id]} if id in params else {})}

write("truth-runs", map(run, table("SELECT * FROM runs WHERE lifecycle_stage = 'active'")))
tags = {row["experiment_id"]: [{"key": row["key"], "value": row["value"]}] for row in table("SELECT * FROM experiment_tags")}
def experiment(row):
    record = {"experiment_id": str(row["experiment_id"]), **{k: row[k] for k in ("name", "lifecycle_stage", "last_update_time", "creation_time")}}
    return {**record, **({"tags": tags[row["experiment_id"]]} if row["experiment_id"] in tags else {})}

write("truth-experiments", map(experiment, table("SELECT * FROM experiments")))
PY
fill() { "$mlflow/bin/python" fill.py "$@"; }
truth() { "$mlflow/bin/python" truth.py; }
fill 0 "$runs" >/dev/null
truth
say "serves $(wc -l <truth-runs) runs and $(wc -l <truth-experiments) experiments"

# ---- export, and compare with the database
runs_filter='' experiments_filter='' runs_follow='' experiments_follow=''
if [ -n "$incremental" ]; then
  runs_filter=', filter: "attributes.start_time >= {{ incremental.start }}"'
  runs_follow='incremental: { cursor_field: info.start_time, start: "0" }'
  experiments_filter=', filter: "last_update_time >= {{ incremental.start }}"'
  experiments_follow='incremental: { cursor_field: last_update_time, start: "0" }'
fi
cat >source.yaml <<YAML
rest:
  base_url: $api
  streams:
    runs:
      path: /runs/search
      method: POST
      body: { experiment_ids: ["0"], max_results: 500, order_by: ["attributes.start_time ASC"]$runs_filter }
      records: \$.runs[*]
      primary_key: [info.run_id]
      paginate: { cursor: { from: \$.next_page_token, param: page_token, in: body } }
      $runs_follow
    experiments:
      path: /experiments/search
      query: { max_results: "7", view_type: ALL, order_by: last_update_time ASC$experiments_filter }
      records: \$.experiments[*]
      primary_key: [experiment_id]
      paginate: { cursor: { from: \$.next_page_token, param: page_token } }
      $experiments_follow
YAML
configure runs experiments
export_all
compare runs truth-runs info.run_id
compare experiments truth-experiments experiment_id

# ---- 25 runs more; of the experiments 2 renamed, 1 deleted (it stays, with another state), 1 new; export again
fill "$runs" 25 >moved-runs
post experiments/update '{"experiment_id":"3","new_name":"renamed 3"}' >/dev/null
post experiments/update '{"experiment_id":"17","new_name":"renamed 17"}' >/dev/null
post experiments/delete '{"experiment_id":"9"}' >/dev/null
new=$(post experiments/create '{"name":"new"}' | python3 -c 'import json, sys; print(json.load(sys.stdin)["experiment_id"])')
echo "[\"3\", \"17\", \"9\", \"$new\"]" >moved-experiments
truth
export_all
told 26 25 runs # and the last one of the first export, which has the time of a new one
told 5 4 experiments
compare runs truth-runs info.run_id ${incremental:+--moved moved-runs}
compare experiments truth-experiments experiment_id ${incremental:+--moved moved-experiments}
at_rest 2 runs experiments
say "ok"
