# SPDX-License-Identifier: Apache-2.0
"""Called by `meson install`: compiles the Python files of an installation, in the directory that is given."""

import compileall
import os
import sys

directory = sys.argv[1]
destination = os.environ.get("DESTDIR", "") + os.path.join(os.environ["MESON_INSTALL_PREFIX"], directory)
sys.exit(not compileall.compile_dir(destination, quiet=1, ddir=os.path.join(os.environ["MESON_INSTALL_PREFIX"], directory)))
