// SPDX-License-Identifier: Apache-2.0

// Wires the page's controls to the terminal and the code runner.

import './csp.js';

import { AgentError } from './agent.js';
import { CodePanel } from './code.js';
import { TerminalPanel } from './terminal.js';

// Where the token is kept when the user asks for it: until the tab is closed, and for this tab alone.
const STORED_TOKEN = 'vm-agent-token';

const EXAMPLES = {
  python: 'import sys\n\nprint("Hello from Python", sys.version.split()[0])\n',
  javascript: 'console.log("Hello from Node", process.version);\n',
  bash: 'echo "Hello from Bash $BASH_VERSION"\n',
  go: 'package main\n\nimport (\n\t"fmt"\n\t"runtime"\n)\n\nfunc main() {\n\tfmt.Println("Hello from", runtime.Version())\n}\n',
};

const $ = (id) => document.getElementById(id);

function showStatus(element, state, words) {
  element.dataset.state = state;
  element.textContent = words;
}

function showError(error) {
  $('message').textContent = error ? (error instanceof AgentError ? error.message : String(error)) : '';
  $('message').hidden = !error;
}

function takeToken() {
  const token = $('token').value.trim();

  if ($('remember').checked) sessionStorage.setItem(STORED_TOKEN, token);
  else sessionStorage.removeItem(STORED_TOKEN);
  return token;
}

function setUpConnection() {
  let isConnected = false;
  const terminal = new TerminalPanel($('terminal'), {
    onStatus(state, words) {
      isConnected = state !== 'off';
      showStatus($('terminal-status'), state, words);
      $('connect').textContent = isConnected ? 'Disconnect' : 'Connect';
    },
    onLeave: () => $('source').focus(),
  });

  $('connection').addEventListener('submit', async (event) => {
    event.preventDefault();
    showError(null);
    if (isConnected) {
      terminal.disconnect();
      return;
    }
    try {
      await terminal.connect(takeToken(), $('session').value.trim());
    } catch (error) {
      showError(error);
    }
  });

  $('remember').addEventListener('change', takeToken);
  const stored = sessionStorage.getItem(STORED_TOKEN);
  if (stored) {
    $('token').value = stored;
    $('remember').checked = true;
  }
}

function setUpCode() {
  const code = new CodePanel($('output'), {
    onStatus(state, words) {
      showStatus($('run-status'), state, words);
      $('run').disabled = state === 'busy';
      $('stop').disabled = state !== 'busy';
    },
  });

  $('code').addEventListener('submit', async (event) => {
    event.preventDefault();
    showError(null);
    try {
      await code.run(takeToken(), {
        code: $('source').value,
        language: $('language').value,
        timeout: $('timeout').valueAsNumber,
      });
    } catch (error) {
      showError(error);
    }
  });
  $('stop').addEventListener('click', () => code.stop());
  $('source').addEventListener('keydown', (event) => {
    if (event.key !== 'Enter' || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    if (!code.isBusy) $('code').requestSubmit();
  });

  // The example changes with the language as long as nobody has typed over it.
  let example = EXAMPLES[$('language').value];
  $('source').value = example;
  $('language').addEventListener('change', () => {
    const isUntouched = $('source').value === example || !$('source').value.trim();
    example = EXAMPLES[$('language').value];
    if (isUntouched) $('source').value = example;
  });
}

setUpConnection();
setUpCode();
