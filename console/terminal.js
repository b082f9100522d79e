// SPDX-License-Identifier: Apache-2.0

// The terminal: xterm.js on one end, GET /terminal on the other. One that belongs to a named session is attached again
// when the connection is lost, and continues with the byte that comes next.

import { FitAddon } from './addon-fit.mjs';
import { Terminal } from './xterm.mjs';

import { AgentError, closeReason, openChannel } from './agent.js';

const RETRY_MS = [250, 500, 1000, 2000, 4000, 8000];
const MAX_RETRIES = 30;

// Output that came in and is not drawn yet. Beyond it a flood is cut, because a browser cannot stop the sender.
const MAX_PENDING = 16 * 1024 * 1024;

// What is pasted goes in messages of at most so many characters.
const INPUT_PIECES = /[^]{1,8192}/gu;

// Close codes after which there is nothing to come back to.
const FINAL_CODES = [1000];

const THEME_COLORS = ['black', 'red', 'green', 'yellow', 'blue', 'magenta', 'cyan', 'white'];

/** The colours of console.css, so that there is one place for them. */
function currentTheme() {
  const style = getComputedStyle(document.documentElement);
  const color = (name) => style.getPropertyValue(`--${name}`).trim();
  const theme = {
    background: color('sunken'),
    foreground: color('text'),
    cursor: color('accent'),
    cursorAccent: color('sunken'),
    selectionBackground: color('selection'),
  };
  for (const name of THEME_COLORS) {
    theme[name] = color(`ansi-${name}`);
    theme[`bright${name[0].toUpperCase()}${name.slice(1)}`] = color(`ansi-bright-${name}`);
  }
  return theme;
}

/**
 * A terminal inside `parent`. onStatus(state, words) is told whenever something changes; states are "off", "busy" and
 * "on". onLeave() is called for the key that moves the focus out of it.
 */
export class TerminalPanel {
  constructor(parent, { onStatus, onLeave }) {
    this.onStatus = onStatus;
    this.channel = null;
    this.attempt = 0; // counts connects, so that what belongs to an earlier one is known by it
    this.pending = 0;

    this.terminal = new Terminal({
      allowProposedApi: false,
      cursorBlink: true,
      fontFamily: 'ui-monospace, "Cascadia Mono", "SF Mono", Menlo, "DejaVu Sans Mono", monospace',
      fontSize: 14,
      scrollback: 10000,
      theme: currentTheme(),
    });
    this.fit = new FitAddon();
    this.terminal.loadAddon(this.fit);
    this.terminal.open(parent);
    this.terminal.textarea?.setAttribute('aria-label', 'Terminal input; Ctrl+F6 leaves it');

    this.terminal.onData((text) => {
      for (const data of text.match(INPUT_PIECES) ?? []) this.channel?.send({ type: 'input', data });
    });
    this.terminal.onResize(({ cols, rows }) => this.channel?.send({ type: 'resize', cols, rows }));
    this.terminal.attachCustomKeyEventHandler((event) => {
      if (event.key !== 'F6' || !event.ctrlKey) return true;
      if (event.type === 'keydown') {
        event.preventDefault();
        onLeave();
      }
      return false;
    });

    let frame = 0;
    new ResizeObserver(() => {
      cancelAnimationFrame(frame);
      frame = requestAnimationFrame(() => this.fit.fit());
    }).observe(parent);
    matchMedia('(prefers-color-scheme: light)').addEventListener('change', () => {
      this.terminal.options.theme = currentTheme();
    });
    this.fit.fit();
  }

  /** Starts a terminal, or attaches to the session of that name. Throws when it cannot. */
  async connect(token, session) {
    this.disconnect();
    const attempt = ++this.attempt;

    Object.assign(this, { token, session, since: null, hasEnded: false });
    this.terminal.reset();
    this.onStatus('busy', 'connecting …');
    try {
      await this.#open(attempt);
    } catch (error) {
      if (attempt === this.attempt) this.onStatus('off', 'not connected');
      throw error;
    }
    if (attempt === this.attempt) this.terminal.focus();
  }

  /** Ends the connection; a named session lives on. */
  disconnect() {
    this.attempt++;
    clearTimeout(this.retryTimer);
    this.channel?.close();
    this.channel = null;
    this.onStatus('off', 'not connected');
  }

  async #open(attempt) {
    const isCurrent = () => attempt === this.attempt;
    const query = { cols: this.terminal.cols, rows: this.terminal.rows };

    if (this.session) query.session = this.session;
    if (this.since !== null) query.since = this.since;

    const channel = await openChannel('terminal', this.token, query, {
      onMessage: (message) => isCurrent() && this.#take(message),
      onClose: (event) => isCurrent() && this.#closed(event, attempt),
    });
    if (!isCurrent()) {
      channel.close();
      return;
    }
    this.channel = channel;
    this.retries = 0;
    // The page may have changed its size meanwhile.
    channel.send({ type: 'resize', cols: this.terminal.cols, rows: this.terminal.rows });
    this.onStatus('on', this.session ? `connected to session ${this.session}` : 'connected');
  }

  #take(message) {
    switch (message.type) {
      case 'output':
        if (Number.isInteger(message.end)) this.since = message.end;
        this.#write(message.data ?? '');
        break;
      case 'attached':
        if (Number.isInteger(message.offset)) this.since = message.offset;
        break;
      case 'gap':
        if (message.restarted) this.#note('the session had ended: this is a new one');
        else this.#note(`${message.lost ?? 'some'} bytes of output are missing here`);
        break;
      case 'exit':
        this.hasEnded = true;
        this.#note(`ended with exit code ${message.code ?? message.exit_code ?? '?'}`);
        this.channel?.close();
        break;
      case 'error':
        this.#note(message.message ?? message.error ?? 'error');
        break;
      default: // "pong", and what later versions may say
    }
  }

  #write(data) {
    if (this.pending > MAX_PENDING) {
      if (!this.isCutting) this.#note('more output than can be shown: some is left out here');
      this.isCutting = true;
      return;
    }
    this.isCutting = false;
    this.pending += data.length;
    this.terminal.write(data, () => {
      this.pending -= data.length;
    });
  }

  #note(words) {
    this.terminal.write(`\r\n\x1b[0;2m[${words}]\x1b[0m\r\n`);
  }

  #closed(event, attempt) {
    this.channel = null;
    if (this.hasEnded || FINAL_CODES.includes(event.code)) {
      this.onStatus('off', 'ended');
    } else if (this.session) {
      this.#retry(attempt, closeReason(event));
    } else {
      this.#note(`${closeReason(event)}; without a session name the terminal is gone`);
      this.onStatus('off', closeReason(event));
    }
  }

  #retry(attempt, why) {
    const delay = RETRY_MS[Math.min(this.retries, RETRY_MS.length - 1)];

    this.onStatus('busy', `${why}, connecting again …`);
    this.retryTimer = setTimeout(async () => {
      try {
        await this.#open(attempt);
      } catch (error) {
        if (attempt !== this.attempt) return;
        const words = error instanceof AgentError ? error.message : String(error);
        if (error.isFinal || ++this.retries >= MAX_RETRIES) this.onStatus('off', words);
        else this.#retry(attempt, words);
      }
    }, delay);
  }
}
