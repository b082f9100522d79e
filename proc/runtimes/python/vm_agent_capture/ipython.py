# SPDX-License-Identifier: Apache-2.0
"""The objects of IPython.display that programs use most, with what they need of IPython's behaviour: a form of
themselves by which they are displayed. Files are read and URLs are linked, never fetched."""

import os


class DisplayObject:
    """Text or bytes that say of themselves what they are."""

    _read_flags = "r"
    _mime = None

    def __init__(self, data=None, url=None, filename=None, metadata=None):
        if isinstance(data, (os.PathLike, str)) and url is None and filename is None:
            data = os.fspath(data)
            if data.startswith(("http://", "https://")):
                data, url = None, data
            elif self._is_file_name(data):
                data, filename = None, data
        self.data = data
        self.url = url
        self.filename = None if filename is None else os.fspath(filename)
        self.metadata = metadata or {}
        self.reload()

    def _is_file_name(self, data):
        return False

    def reload(self):
        """Reads the file again, if there is one."""
        if self.filename is not None:
            encoding = None if "b" in self._read_flags else "utf-8"
            with open(self.filename, self._read_flags, encoding=encoding) as file:
                self.data = file.read()

    def __repr__(self):
        return "<IPython.core.display.%s object>" % type(self).__name__

    def _repr_mimebundle_(self, include=None, exclude=None):
        if self._mime is None or self.data is None:
            return {}
        return {self._mime: self.data}, {self._mime: self.metadata}


class TextDisplayObject(DisplayObject):
    pass


class HTML(TextDisplayObject):
    _mime = "text/html"

    def _repr_html_(self):
        return self.data

    __html__ = _repr_html_


class Markdown(TextDisplayObject):
    _mime = "text/markdown"


class Latex(TextDisplayObject):
    _mime = "text/latex"


class Math(TextDisplayObject):
    _mime = "text/latex"

    def _repr_mimebundle_(self, include=None, exclude=None):
        return {self._mime: "$\\displaystyle %s$" % self.data.strip("$")}


class SVG(DisplayObject):
    _mime = "image/svg+xml"

    def _is_file_name(self, data):
        return "<" not in data and os.path.isfile(data)


class JSON(DisplayObject):
    _mime = "application/json"

    def __init__(self, data=None, url=None, filename=None, expanded=False, metadata=None, root="root", **more):
        super().__init__(data, url, filename, dict(metadata or {}, expanded=expanded, root=root, **more))
        if isinstance(self.data, str):
            import json

            self.data = json.loads(self.data)


class Javascript(TextDisplayObject):
    _mime = "application/javascript"

    def __init__(self, data=None, url=None, filename=None, lib=None, css=None):
        super().__init__(data, url, filename)


class Pretty(TextDisplayObject):
    _mime = "text/plain"


class Code(TextDisplayObject):
    """Source, as a block of markdown."""

    _mime = "text/markdown"

    def __init__(self, data=None, url=None, filename=None, language=None):
        self.language = language or ""
        super().__init__(data, url, filename)

    def _is_file_name(self, data):
        return "\n" not in data and os.path.isfile(data)

    def __repr__(self):
        return self.data or ""

    def _repr_mimebundle_(self, include=None, exclude=None):
        return {"text/markdown": "```%s\n%s\n```" % (self.language, self.data)}


SIGNATURES = ((b"\x89PNG\r\n", "image/png"), (b"\xff\xd8", "image/jpeg"), (b"GIF8", "image/gif"),
              (b"RIFF", "image/webp"))


class Image(DisplayObject):
    """A picture: bytes, a file, or a URL."""

    _read_flags = "rb"

    def __init__(self, data=None, url=None, filename=None, format=None, embed=None, width=None, height=None,
                 retina=False, unconfined=False, metadata=None, alt=None):
        size = {name: value for name, value in (("width", width), ("height", height), ("alt", alt)) if value}
        super().__init__(data, url, filename, dict(metadata or {}, **size))

    def _is_file_name(self, data):
        return True

    def _repr_mimebundle_(self, include=None, exclude=None):
        if self.data is None:
            return {"text/html": '<img src="%s"/>' % self.url}
        data = bytes(self.data)
        for start, mime in SIGNATURES:
            if data.startswith(start):
                return {mime: data}, {mime: self.metadata}
        if data.lstrip()[:1] == b"<":
            return {"image/svg+xml": data}
        raise ValueError("this is no picture that is known here (png, jpeg, gif, webp, svg)")


class IFrame:
    """A page within the page."""

    def __init__(self, src, width, height, extras=(), **params):
        self.src, self.width, self.height, self.params = src, width, height, params

    def _repr_html_(self):
        query = "&".join("%s=%s" % pair for pair in self.params.items())
        return '<iframe width="%s" height="%s" src="%s%s" frameborder="0" allowfullscreen></iframe>' % (
            self.width, self.height, self.src, "?" + query if query else "")


class _Media(DisplayObject):
    _read_flags = "rb"
    _element = None
    _types = {}

    def _is_file_name(self, data):
        return True

    def _repr_mimebundle_(self, include=None, exclude=None):
        source = self.url
        if self.data is not None:
            suffix = os.path.splitext(self.filename or "")[1].lower()
            mime = self._types.get(suffix, self._types[""])
            data = self.data if isinstance(self.data, str) else part("values").base64(bytes(self.data))
            source = "data:%s;base64,%s" % (mime, data)
        return {"text/html": '<%s controls src="%s"></%s>' % (self._element, source, self._element)}


class Audio(_Media):
    """A sound: bytes of a file, a file, or a URL. (Samples as numbers need IPython itself.)"""

    _element = "audio"
    _types = {"": "audio/wav", ".mp3": "audio/mpeg", ".ogg": "audio/ogg", ".flac": "audio/flac"}

    def __init__(self, data=None, filename=None, url=None, embed=None, rate=None, autoplay=False, normalize=True, *,
                 element_id=None):
        if data is not None and not isinstance(data, (str, bytes, bytearray, os.PathLike)):
            raise ValueError("IPython must be installed to play samples")
        super().__init__(data, url, filename)


class Video(_Media):
    """A film: bytes of a file, a file, or a URL."""

    _element = "video"
    _types = {"": "video/mp4", ".webm": "video/webm", ".ogv": "video/ogg"}

    def __init__(self, data=None, url=None, filename=None, embed=False, mimetype=None, width=None, height=None,
                 html_attributes="controls"):
        super().__init__(data, url, filename)


def set_matplotlib_formats(*formats, **options):
    """What figures are drawn as, beside png."""
    state.formats = tuple(map(str, formats))


def _names():
    names = {name: value for name, value in globals().items()
             if isinstance(value, type) and issubclass(value, (DisplayObject, IFrame)) and not name.startswith("_")}
    for value in names.values():
        value.__module__ = "IPython.core.display"
    handles = part("handles")
    for function in ("DisplayHandle", "clear_output", "publish_display_data", "update_display"):
        names[function] = getattr(handles, function)
    names["set_matplotlib_formats"] = set_matplotlib_formats
    return names


NAMES = _names()
