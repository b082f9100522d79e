# SPDX-License-Identifier: Apache-2.0
"""python3 driver.py [--rich=FD] SCRIPT: runs SCRIPT as the interpreter itself would, see proc/driver_protocol.h."""

import agent_cold

agent_cold.run(globals())
