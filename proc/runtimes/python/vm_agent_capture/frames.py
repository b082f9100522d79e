# SPDX-License-Identifier: Apache-2.0
"""Tables of pandas: as HTML, as data, and as text; each with as many rows as somebody may want to look at."""

import sys

MIME = "application/vnd.dataframe+json"
HTML_ROWS = 60
HTML_COLUMNS = 50
DATA_ROWS = 1000
DATA_COLUMNS = 200
MAX_DATA = 4 << 20  # characters; tables of long texts are cut to fewer rows


def forms_of(value):
    """See display.forms_of(). None: value is no table of pandas."""
    pandas = sys.modules["pandas"]
    try:
        is_series = isinstance(value, pandas.Series)
        if not is_series and not isinstance(value, pandas.DataFrame):
            return None
    except AttributeError:  # still being imported
        return None
    forms, facts, errors = {}, {}, {}
    common = {"source": "pandas", "rows": int(value.shape[0]),
              "columns": 1 if is_series else int(value.shape[1])}
    for mime, make in (("text/html", _html), (MIME, _data)):
        try:
            forms[mime], n_rows, n_columns = make(pandas, value, is_series)
            facts[mime] = {"truncated": n_rows < common["rows"] or n_columns < common["columns"]}
        except (Exception, SystemExit) as error:
            errors[mime] = part("display").describe_error(error)
    return forms, facts, common, errors


def _html(pandas, value, is_series):
    frame = value.to_frame() if is_series else value
    with pandas.option_context("display.max_rows", HTML_ROWS, "display.min_rows", HTML_ROWS,
                               "display.max_columns", HTML_COLUMNS, "display.notebook_repr_html", True,
                               "display.show_dimensions", "truncate"):
        return frame._repr_html_(), min(len(frame), HTML_ROWS), min(frame.shape[1], HTML_COLUMNS)


def _data(pandas, value, is_series):
    """{columns, index, data, dtypes, shape, truncated} as JSON, with fewer rows if that is too much."""
    n_rows = DATA_ROWS
    while True:
        text, n_kept, n_columns = _data_of(value, is_series, n_rows)
        if len(text) <= MAX_DATA or n_rows <= 1:
            return part("values").Encoded(text), n_kept, n_columns
        n_rows //= 4


def _data_of(value, is_series, n_rows):
    head = value.iloc[:n_rows]
    if is_series:
        columns, series = [value.name], [head]
        shape = [len(value), 1]
    else:
        head = head.iloc[:, :DATA_COLUMNS]
        columns = head.columns.tolist()
        series = [head.iloc[:, i] for i in range(head.shape[1])]
        shape = list(value.shape)
    cells = [column.tolist() for column in series]
    table = {
        "columns": columns,
        "index": head.index.tolist(),
        "data": [list(row) for row in zip(*cells)] if cells else [[] for _ in range(len(head))],
        "dtypes": [str(column.dtype) for column in series],
        "shape": shape,
        "truncated": len(head) < shape[0] or len(series) < shape[1],
    }
    if is_series:
        table["name"] = value.name
    return part("encode").encode(table), len(head), len(series)
