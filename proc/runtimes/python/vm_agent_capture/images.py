# SPDX-License-Identifier: Apache-2.0
"""Images of PIL: as png, whatever their mode is, and not larger than a screen can show."""

import io
import math
import sys

MAX_PIXELS = 16_000_000
MAX_PNG = 6 << 20  # as base64 it must fit into a line
MODES = ("1", "L", "LA", "I", "P", "RGB", "RGBA", "I;16")


def forms_of(value):
    """See display.forms_of(). None: value is no image of PIL's."""
    image_type = getattr(sys.modules["PIL.Image"], "Image", None)
    if image_type is None or not isinstance(value, image_type):
        return None
    common = {"source": "other", "object": "PIL.Image"}
    try:
        data, is_reduced = _png(value)
    except (Exception, SystemExit) as error:
        return {}, {}, common, {"image/png": part("display").describe_error(error)}
    about = {"width": value.width, "height": value.height}
    if is_reduced:
        about["truncated"] = True
    return {"image/png": data}, {"image/png": about}, common, {}


def _png(image):
    if image.mode not in MODES:
        image = image.convert("RGBA" if image.mode in ("PA", "RGBa", "La") else "RGB")
    scale = math.sqrt(MAX_PIXELS / (image.width * image.height)) if image.width * image.height > MAX_PIXELS else 1.0
    while True:
        data = _encoded(image, scale)
        if len(data) <= MAX_PNG or scale < 0.01:
            return data, scale < 1
        scale *= math.sqrt(MAX_PNG / len(data)) * 0.9


def _encoded(image, scale):
    if scale < 1:
        image = image.resize((max(1, int(image.width * scale)), max(1, int(image.height * scale))))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
