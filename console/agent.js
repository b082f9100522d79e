// SPDX-License-Identifier: Apache-2.0

// Talking to the agent that served the page: is the token good, and a WebSocket that carries it.

const PROTOCOL = 'vm-agent';

// Characters that a token has and a WebSocket's protocol name may have.
const TOKEN = /^[\w-]+\.[\w-]+\.[\w-]+$/;

const OPEN_TIMEOUT_MS = 15000;

/** An error whose message is meant for the user. `isFinal`: trying again is no use. */
export class AgentError extends Error {
  constructor(message, isFinal = false) {
    super(message);
    this.isFinal = isFinal;
  }
}

const address = (path) => new URL(path, document.baseURI);

/** Throws what is wrong with the token. A browser does not tell why a WebSocket was refused, so HTTP is asked first. */
export async function checkToken(token) {
  if (!token) throw new AgentError('Paste a token first.', true);
  if (!TOKEN.test(token)) {
    throw new AgentError('This is no token: a JWT consists of three parts with dots between them.', true);
  }
  let response;
  try {
    response = await fetch(address('metrics/snapshot'), {
      headers: { Authorization: `Bearer ${token}` },
      cache: 'no-store',
      credentials: 'omit',
      signal: AbortSignal.timeout(OPEN_TIMEOUT_MS),
    });
  } catch {
    throw new AgentError('The agent does not answer.');
  }
  if (response.ok) return;
  let message = '';
  try {
    ({ message } = await response.json());
  } catch {
    // No JSON: a proxy's answer.
  }
  throw new AgentError(message || `The agent answers with status ${response.status}.`,
    response.status === 401 || response.status === 403);
}

/** What a close event means, in words. */
export function closeReason(event) {
  const words = {
    1000: 'closed',
    1001: 'the agent is shutting down',
    1006: 'the connection was lost',
    1009: 'a message was too large',
    1011: 'the agent had an internal error',
    1013: 'the agent is busy',
  };
  return event.reason || words[event.code] || `closed with code ${event.code}`;
}

/**
 * An open channel that speaks JSON. `query` are the parameters of the address. Calls onMessage(message) for each
 * message and onClose(event) once, after it was open; a channel that cannot be opened throws.
 */
export async function openChannel(path, token, query, { onMessage, onClose }) {
  await checkToken(token);

  const url = address(path);
  url.protocol = url.protocol.replace('http', 'ws');
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);

  const socket = new WebSocket(url, [PROTOCOL, `bearer.${token}`]);
  let isOpen = false;
  await new Promise((resolve, reject) => {
    const timer = setTimeout(() => socket.close(), OPEN_TIMEOUT_MS);
    socket.onopen = () => {
      clearTimeout(timer);
      isOpen = true;
      resolve();
    };
    socket.onclose = (event) => {
      clearTimeout(timer);
      if (isOpen) onClose(event);
      else reject(new AgentError(`The agent refused the connection to /${path}.`));
    };
    socket.onmessage = (event) => {
      let message;
      try {
        message = JSON.parse(event.data);
      } catch {
        return; // not ours
      }
      onMessage(message);
    };
  });

  return {
    send(message) {
      if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
    },
    close() {
      socket.close(1000);
    },
  };
}
