# SPDX-License-Identifier: Apache-2.0
"""Figures of plotly: as data, and as HTML that gets plotly.js from where plotly publishes it."""

import sys

MIME = "application/vnd.plotly.v1+json"


def is_figure(value):
    """Whether it is a figure of plotly's."""
    base = getattr(sys.modules["plotly.basedatatypes"], "BaseFigure", None)
    return base is not None and isinstance(value, base)


def forms_of(value):
    """See display.forms_of(). None: value is no figure of plotly's."""
    if not is_figure(value):
        return None
    forms, errors = {}, {}
    for mime, make in ((MIME, _data), ("text/html", _html)):
        try:
            forms[mime] = make(value)
        except (Exception, SystemExit) as error:
            errors[mime] = part("display").describe_error(error)
    return forms, {}, {"source": "plotly", "has_no_text": True}, errors


def _data(figure):
    return part("values").Encoded(figure.to_json(pretty=False).replace("\n", " "))


def _html(figure):
    return figure.to_html(include_plotlyjs="cdn", full_html=False)


def show(figure):
    """What plotly's show() is given: a figure, or the dictionary of one."""
    if isinstance(figure, dict):
        import plotly.graph_objects

        figure = plotly.graph_objects.Figure(figure)
    part("display").show(figure)
