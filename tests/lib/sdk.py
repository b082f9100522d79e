# SPDX-License-Identifier: Apache-2.0
"""Fixtures for tests of the public Python client; a test file imports those that it wants."""

import pytest
from hopx_ai import AsyncSandbox, Sandbox

from lib import tokens
from lib.control_plane import ControlPlane


@pytest.fixture(autouse=True)
def fresh_token_cache():
    """The client keeps tokens in a global, by sandbox id."""
    from hopx_ai import _token_cache

    _token_cache.clear_all_tokens()
    yield
    _token_cache.clear_all_tokens()


@pytest.fixture
def control_plane(agent):
    with ControlPlane(agent.url) as plane:
        yield plane


@pytest.fixture
def sandbox(control_plane):
    sandbox = Sandbox.connect("sandbox-1", api_key="key", base_url=control_plane.url)
    yield sandbox
    if sandbox._agent_client:
        sandbox._agent_client.close()
    sandbox._client.close()


@pytest.fixture
def debug_sandbox(agent):
    """Without a control plane."""
    sandbox = Sandbox.debug(agent.url, tokens.token())
    yield sandbox
    sandbox._agent_client.close()


@pytest.fixture
async def async_sandbox(control_plane):
    sandbox = await AsyncSandbox.connect("sandbox-1", api_key="key", base_url=control_plane.url)
    yield sandbox
    if sandbox._agent_client:
        await sandbox._agent_client.close()
    await sandbox._client.close()
