// SPDX-License-Identifier: Apache-2.0

// Running code: one channel to GET /execute/stream per run, output shown while it comes.

import { closeReason, openChannel } from './agent.js';

// Characters of output on the page; what is older goes. More would take the browser longer to lay out than the next
// output takes to come.
const MAX_SHOWN = 256 * 1024;

const REASONS = {
  timeout: 'the time limit was reached',
  signal: 'ended by a signal',
  cancelled: 'stopped',
  oom: 'out of memory',
  output_limit: 'too much output',
};

/** The output: pieces are collected and shown once per frame, however many messages bring them. */
class OutputView {
  constructor(element) {
    this.element = element;
    this.clear();
  }

  clear() {
    this.element.replaceChildren();
    this.waiting = [];
    this.size = 0; // of what is shown and what waits
    this.isCut = false;
  }

  add(stream, text) {
    const last = this.waiting.at(-1);

    if (!text) return;
    if (last?.stream === stream) last.text += text;
    else this.waiting.push({ stream, text });
    this.size += text.length;
    if (!this.frame) this.frame = requestAnimationFrame(() => this.#show());
  }

  #show() {
    const { element } = this;
    const isAtEnd = element.scrollTop + element.clientHeight >= element.scrollHeight - 4;

    this.frame = 0;
    this.#forgetOld();
    for (const { stream, text } of this.waiting) element.append(this.#span(stream, text));
    this.waiting = [];
    if (isAtEnd) element.scrollTop = element.scrollHeight;
  }

  /** Drops what is beyond MAX_SHOWN: first what is shown, then what waits. */
  #forgetOld() {
    const { element, waiting } = this;

    if (this.size <= MAX_SHOWN) return;
    if (this.isCut) element.firstElementChild?.remove();
    this.isCut = true;
    while (this.size > MAX_SHOWN && element.firstElementChild) {
      this.size -= element.firstElementChild.textContent.length;
      element.firstElementChild.remove();
    }
    while (this.size > MAX_SHOWN) {
      const n = Math.min(this.size - MAX_SHOWN, waiting[0].text.length);
      waiting[0].text = waiting[0].text.slice(n);
      this.size -= n;
      if (!waiting[0].text) waiting.shift();
    }
    element.prepend(this.#span('note', '[earlier output is not shown]\n'));
  }

  #span(className, text) {
    const span = document.createElement('span');

    span.className = className;
    span.textContent = text;
    return span;
  }
}

/** "exit code 0, 0.12 s". */
function describe(result) {
  const words = [`exit code ${result.exit_code ?? '?'}`];

  if (REASONS[result.reason]) words.push(REASONS[result.reason]);
  if (typeof result.execution_time === 'number') words.push(`${result.execution_time.toFixed(2)} s`);
  return words.join(', ');
}

/** Runs one piece of code at a time. onStatus(state, words): "off", "busy", "good" or "bad". */
export class CodePanel {
  constructor(element, { onStatus }) {
    this.output = new OutputView(element);
    this.onStatus = onStatus;
    this.channel = null;
    this.isBusy = false;
  }

  /** Starts a run. Throws when the agent cannot be reached; how the run ends is told by onStatus. */
  async run(token, { code, language, timeout }) {
    let status = null;

    if (this.isBusy) return;
    this.isBusy = true;
    this.isStopping = false;
    this.output.clear();
    this.onStatus('busy', 'starting …');
    try {
      this.channel = await openChannel('execute/stream', token, {}, {
        onMessage: (message) => {
          switch (message.type) {
            case 'stdout':
            case 'stderr':
              this.output.add(message.type, message.data);
              break;
            case 'result':
              status = [message.exit_code === 0 ? 'good' : 'bad', describe(message)];
              break;
            case 'error':
              status ??= ['bad', message.message ?? message.error ?? 'error'];
              break;
            case 'complete':
              this.channel?.close();
              break;
            default:
          }
        },
        onClose: (event) => {
          this.isBusy = false;
          this.channel = null;
          this.onStatus(...(status ?? ['bad', this.isStopping ? 'stopped' : closeReason(event)]));
        },
      });
    } catch (error) {
      this.isBusy = false;
      this.onStatus('off', '');
      throw error;
    }
    this.channel.send({ type: 'execute', code, language, timeout, stdin: '' });
    this.onStatus('busy', 'running …');
  }

  /** Kills what runs. A second time does not wait for the agent's word. */
  stop() {
    if (this.isStopping) this.channel?.close();
    this.isStopping = true;
    this.channel?.send({ type: 'kill' });
    if (this.channel) this.onStatus('busy', 'stopping …');
  }
}
