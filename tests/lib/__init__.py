# SPDX-License-Identifier: Apache-2.0
"""What the integration tests share: the agent under test, tokens, raw sockets, expectations."""
