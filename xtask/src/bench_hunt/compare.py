"""Runs each hunt with lkm-monitor and with DuckDB over the same file, and prints one JSON object for each.

Both use all processors, begin in a new process, and give the rows as CSV. The file was just written or read, so that both find
it in memory as far as it fits.
"""

import csv
import io
import json
import os
import subprocess
import sys
import time

DAEMON, DOCUMENTS, SINCE = sys.argv[1:4]

COLUMNS = """{'@timestamp': 'VARCHAR', agent: 'STRUCT(id VARCHAR)', host: 'STRUCT(os STRUCT(type VARCHAR))',
    event: 'STRUCT(type VARCHAR[], action VARCHAR, outcome VARCHAR)',
    file: 'STRUCT(path VARCHAR, name VARCHAR, hash STRUCT(sha256 VARCHAR))',
    process: 'STRUCT(name VARCHAR, executable VARCHAR, args VARCHAR[], args_count BIGINT)',
    lkm_monitor: 'STRUCT(late BOOLEAN, module STRUCT(name VARCHAR), image STRUCT(sha256 VARCHAR), tool STRUCT(effect VARCHAR))'}"""
EVENTS = f"""read_ndjson('{DOCUMENTS}', columns = {COLUMNS})
    WHERE "@timestamp" >= '{SINCE}' AND host.os.type = 'linux' AND NOT coalesce(lkm_monitor.late, false)"""
FIGURES = """count(*) AS cc, count(DISTINCT agent.id) AS agents"""
SUCCEEDED = "coalesce(event.outcome, '') <> 'failure'"

# The generator gives every document an id of its own, so that the question needs none of them.
QUERIES = {
    "files": f"""SELECT regexp_replace(file.path, '^((/usr)?/lib/modules/)[^/]+/', '\\1*/') AS a, process.executable AS b, {FIGURES}
        FROM {EVENTS} AND list_contains(event.type, 'creation') AND {SUCCEEDED}
        AND regexp_matches(file.path, '\\.ko(\\.gz|\\.xz|\\.zst)?$')
        AND NOT starts_with(file.path, '/run/initramfs/') AND NOT starts_with(file.path, '/var/tmp/mkinitramfs')
        GROUP BY a, b HAVING agents <= 3 ORDER BY cc, agents, a, b LIMIT 100""",
    "tools": f"""SELECT array_to_string(process.args, ' ') AS a, process.args_count::VARCHAR AS b, {FIGURES}
        FROM {EVENTS} AND event.action = 'ran-module-tool' AND list_contains(event.type, 'start')
        AND coalesce(lkm_monitor.tool.effect, '') <> 'nothing'
        GROUP BY process.args, process.args_count HAVING cc <= 1 AND agents <= 1 AND process.args_count <= 3
        ORDER BY cc, agents, process.args, b LIMIT 100""",
    "modules": f"""SELECT coalesce(lkm_monitor.module.name, file.name) AS a, coalesce(lkm_monitor.image.sha256, file.hash.sha256, '') AS b, {FIGURES}
        FROM {EVENTS} AND event.action = 'loaded-kernel-module' AND {SUCCEEDED}
        GROUP BY a, b HAVING agents <= 3 ORDER BY cc, agents, a, b LIMIT 100""",
}

DUCKDB = """
import csv, sys, duckdb
duckdb.sql("SET enable_progress_bar = false")
csv.writer(sys.stdout, lineterminator="\\n").writerows(duckdb.sql(sys.argv[1]).fetchall())
"""


def measured(command):
    """Output, seconds, and the most memory that the process held, in MiB."""
    begun = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    output = process.stdout.read().decode()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - begun
    if status != 0:
        sys.exit(f"{command[0]} failed")
    return list(csv.reader(io.StringIO(output, newline=""))), seconds, usage.ru_maxrss / 1024


def main():
    for hunt, query in QUERIES.items():
        # Once each before, so that neither pays for the file's first reading alone.
        best = {}
        for _ in range(2):
            ours = measured([DAEMON, "hunt", hunt, "--input", DOCUMENTS, "--since", SINCE, "--format", "csv"])
            theirs = measured([sys.executable, "-c", DUCKDB, query])
            for name, run in (("lkm-monitor", ours), ("duckdb", theirs)):
                if name not in best or run[1] < best[name][1]:
                    best[name] = run
        rows, seconds, memory = best["lkm-monitor"]
        other_rows, other_seconds, other_memory = best["duckdb"]
        result = {
            "hunt": hunt,
            "rows": len(other_rows),
            "same_rows": [row[:4] for row in rows[1:]] == other_rows,
            "seconds": round(seconds, 2),
            "duckdb_seconds": round(other_seconds, 2),
            "ratio": round(other_seconds / seconds, 2),
            "mib": round(memory),
            "duckdb_mib": round(other_memory),
        }
        print(json.dumps(result), flush=True)


main()
