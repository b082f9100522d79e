# SPDX-License-Identifier: Apache-2.0
"""What display(…, display_id=…) returns. Nothing that was sent can be changed; an update is one more output with the
same metadata.display_id, for readers that show only the last of them."""


class DisplayHandle:
    """As IPython's."""

    __module__ = "IPython.core.display_functions"

    def __init__(self, display_id):
        self.display_id = display_id

    def __repr__(self):
        return "<DisplayHandle display_id=%s>" % self.display_id

    def display(self, value, **options):
        """Shows a value under this name."""
        _show((value,), self.display_id, **options)

    def update(self, value, **options):
        """Shows what is to be seen in place of the last value."""
        _show((value,), self.display_id, **options)


def handle(display_id):
    """A handle for what was displayed under that name."""
    return DisplayHandle(display_id)


def _show(values, display_id, include=None, exclude=None, metadata=None, raw=False, **more):
    if state.active:
        part("display").display(values, include, exclude, metadata, display_id, raw)
    else:
        print(*values)


def update_display(value, *, display_id, **options):
    """IPython's function of that name."""
    _show((value,), display_id, **options)


def publish_display_data(data, metadata=None, *, source=None, transient=None, **more):
    """IPython's function of that name: one object in the forms that data has."""
    _show((data,), (transient or {}).get("display_id"), metadata=metadata, raw=True)


def clear_output(wait=False):
    """Outputs have left already. Nothing is printed, as these are no terminal's lines."""
