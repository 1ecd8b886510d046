"""A comparison as JSON, and back, and the schema of it; reads report files, else pure.

`python -m quadriga_client.compare.formats.json` prints the schema, which is committed beside this module:

    python -m quadriga_client.compare.formats.json > client/quadriga_client/compare/formats/comparison.schema.json
"""

from typing import Final

from quadriga_client.compare.comparison import SCHEMA, Comparison
from quadriga_client.compare.errors import CompareError
from quadriga_client.report_files import ReportFormat

_FORMAT: Final = ReportFormat(
    report=Comparison,
    schema=SCHEMA,
    title="A comparison of models by Quadriga",
    noun="a comparison's report",
    written_by="`quadriga compare --output`",
    error=CompareError,
)
encode, decode, read, encoded_schema = _FORMAT.encode, _FORMAT.decode, _FORMAT.read, _FORMAT.encoded_schema

if __name__ == "__main__":
    print(encoded_schema().decode(), end="")
