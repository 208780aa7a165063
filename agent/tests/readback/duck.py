"""DuckDB over downloaded objects: `duck.py FOLDER` prints rows, distinct numbers, the smallest, the largest, their sum."""
import sys

import duckdb

rows = duckdb.connect().execute(
    "select count(*), count(distinct seq), min(seq), max(seq), sum(seq)::hugeint "
    "from read_json(?, format = 'newline_delimited')",
    [sys.argv[1] + "/**/*.log.gz"],
).fetchall()
print(*rows[0])
