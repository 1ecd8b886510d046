"""A load test's report as JSON, and back, and the schema of it; reads report files, else pure.

`python -m quadriga_client.load.formats.json` prints the schema, which is committed beside this module:

    python -m quadriga_client.load.formats.json > client/quadriga_client/load/formats/report.schema.json
"""

from typing import Final

from quadriga_client.load.errors import LoadError
from quadriga_client.load.report import SCHEMA, Report
from quadriga_client.report_files import ReportFormat

_FORMAT: Final = ReportFormat(
    report=Report,
    schema=SCHEMA,
    title="A load test by Quadriga",
    noun="a load test's report",
    written_by="`quadriga load --output`",
    error=LoadError,
)
encode, decode, read, encoded_schema = _FORMAT.encode, _FORMAT.decode, _FORMAT.read, _FORMAT.encoded_schema

if __name__ == "__main__":
    print(encoded_schema().decode(), end="")
