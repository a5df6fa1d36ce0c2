"""Reads Parquet files whose columns are all encrypted with the footer's key, by pyarrow and DuckDB; prints the rows.

usage: parquet_encryption.py KEY-IN-HEX FILE...
"""
import base64
import sys

import duckdb
import pyarrow.parquet as parquet
import pyarrow.parquet.encryption as encryption

key, paths = bytes.fromhex(sys.argv[1]), sys.argv[2:]
sql = duckdb.connect()
sql.execute(f"PRAGMA add_parquet_key('own', '{base64.b64encode(key).decode()}')")
rows = 0
for path in paths:
    table = parquet.read_table(path, decryption_properties=encryption.create_decryption_properties(key))
    assert all(value is None or value.endswith("@shop.example") for value in table["email"].to_pylist()), path
    query = "SELECT count(*), count(*) FILTER (email LIKE '%@shop.example') FROM read_parquet(?, encryption_config = {footer_key: 'own'})"
    all_rows, known = sql.execute(query, [path]).fetchone()
    assert all_rows == table.num_rows and known == table.num_rows - table["email"].null_count, path
    rows += table.num_rows
    try:
        parquet.read_table(path)
    except OSError:
        continue
    raise AssertionError(f"{path} can be read without a key")
print(rows)
