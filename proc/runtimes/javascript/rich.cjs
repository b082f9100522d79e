// SPDX-License-Identifier: Apache-2.0
'use strict';

// Rich output: display(), and the value of the last expression. Each is one line of JSON on a descriptor of its own.

const fs = require('fs');
const util = require('util');
const { markLast } = require('./last.cjs');

const { writeSync } = fs; // a program may replace it

// As capture of Python has them.
const MAX_OUTPUTS = 100;
const MAX_SIZE = 8 * 1024 * 1024;
const MAX_TOTAL = 16 * 1024 * 1024;

const PNG = Buffer.from('\x89PNG\r\n\x1a\n', 'latin1');
const BUNDLE = Symbol.for('Jupyter.display'); // a method that gives { MIME type: data }, as in other notebooks

class Channel {
        constructor(fd) {
                this.fd = fd;
                this.outputs = 0;
                this.size = 0;
                this.dropped = 0;
        }

        // Writes @object as a line, as a whole. Without a word, when nobody reads.
        write(object) {
                let bytes = Buffer.from(`${JSON.stringify(object)}\n`);

                while (this.fd >= 0 && bytes.length > 0) {
                        try {
                                bytes = bytes.subarray(writeSync(this.fd, bytes));
                        } catch (error) {
                                if (error.code !== 'EAGAIN' && error.code !== 'EINTR')
                                        this.fd = -1;
                        }
                }
        }

        send(type, format, data, metadata) {
                const size = format === 'json' ? JSON.stringify(data).length : data.length;

                if (this.outputs >= MAX_OUTPUTS || size > MAX_SIZE || this.size + size > MAX_TOTAL) {
                        this.drop();
                        return;
                }
                this.outputs++;
                this.size += size;
                this.write({ type, format, data, metadata, timestamp: new Date().toISOString() });
        }

        drop() {
                if (this.dropped++ === 0)
                        process.on('exit', () => this.write({ dropped: this.dropped }));
        }
}

function isBytes(data) {
        return ArrayBuffer.isView(data) || data instanceof ArrayBuffer || data instanceof SharedArrayBuffer;
}

function asBuffer(data) {
        return ArrayBuffer.isView(data) ? Buffer.from(data.buffer, data.byteOffset, data.byteLength) : Buffer.from(data);
}

function isPng(value) {
        return util.types.isUint8Array(value) && asBuffer(value).subarray(0, PNG.length).equals(PNG);
}

function asJson(type, data) {
        let text;

        try {
                text = JSON.stringify(data);
        } catch (error) {
                throw new TypeError(`display: the data of ${type} cannot be written as JSON (${firstLine(error)}). ` +
                        'Pass plain objects, arrays, strings, numbers, booleans or null.');
        }
        if (text === undefined)
                throw new TypeError(`display: the data of ${type} cannot be written as JSON: it is ` +
                        `${typeof data}. Pass plain objects, arrays, strings, numbers, booleans or null.`);
        return JSON.parse(text);
}

function firstLine(error) {
        return String(error?.message).split('\n', 1)[0];
}

function asText(type, data) {
        if (typeof data === 'string')
                return data;
        if (isBytes(data))
                return asBuffer(data).toString('utf8');
        throw new TypeError(`display: the data of ${type} must be a string, not ${describe(data)}.`);
}

function asBase64(type, data) {
        if (isBytes(data))
                return asBuffer(data).toString('base64');

        const text = typeof data === 'string' ? data.replace(/\s/g, '') : '';

        if (!text || text.length % 4 !== 0 || !/^[A-Za-z0-9+/]+={0,2}$/.test(text))
                throw new TypeError(`display: the data of ${type} must be a Buffer, a Uint8Array or a string in ` +
                        `base64, not ${describe(data)}.`);
        return text;
}

function describe(value) {
        return value === null ? 'null' : typeof value === 'string' ? 'any other string'
                : typeof value === 'object' ? `an object of ${value.constructor?.name || 'no class'}` : typeof value;
}

function encode(type, data) {
        if (type === 'application/json' || type.endsWith('+json'))
                return ['json', asJson(type, data)];
        if (type === 'text/html')
                return ['html', asText(type, data)];
        if (type.startsWith('text/') || type.endsWith('+xml') || type === 'application/javascript')
                return ['text', asText(type, data)];
        return ['base64', asBase64(type, data)];
}

function checkType(type) {
        if (typeof type !== 'string' || !/^[\w!#$&^.+-]+\/[\w!#$&^.+-]+(?:\s*;.*)?$/.test(type))
                throw new TypeError('display: the first argument must be a MIME type such as "text/html", ' +
                        `not ${typeof type === 'string' ? JSON.stringify(type) : describe(type)}.`);
        return type.toLowerCase().replace(/\s*;.*$/, '');
}

class Rich {
        constructor(fd) {
                this.channel = new Channel(fd);
        }

        show(type, data, metadata = {}) {
                const name = checkType(type);
                const [format, encoded] = encode(name, data);

                if (metadata === null || typeof metadata !== 'object')
                        throw new TypeError('display: the metadata must be an object.');
                this.channel.send(name, format, encoded, asJson('the metadata', metadata));
        }

        // Whether @value says by itself how it is to be shown.
        showItself(value) {
                if (isPng(value)) {
                        this.show('image/png', value);
                        return true;
                }
                if (value === null || typeof value !== 'object' || util.types.isProxy(value) ||
                    typeof value[BUNDLE] !== 'function')
                        return false;

                const bundle = value[BUNDLE]();

                if (bundle === null || typeof bundle !== 'object')
                        return false;
                for (const [type, data] of Object.entries(bundle))
                        this.show(type, data);
                return true;
        }

        showValue(value) {
                if (this.showItself(value))
                        return;
                if (value === undefined)
                        throw new TypeError('display: there is nothing to show. Call display(value), or ' +
                                'display("text/html", "<b>text</b>") with a MIME type and its data.');
                if (isBytes(value))
                        throw new TypeError('display: only PNG images are known by their bytes. Say what it is: ' +
                                'display("image/jpeg", data).');
                if (typeof value === 'string')
                        this.show('text/plain', value);
                else
                        this.show('application/json', value);
        }

        // Whatever goes wrong here is none of the program's business.
        showLast(value) {
                let text;

                if (value === undefined)
                        return;
                try {
                        this.showItself(value);
                } catch {
                        // its text is shown all the same
                }
                try {
                        text = util.inspect(value);
                } catch {
                        return;
                }
                if (text.length > MAX_SIZE)
                        this.channel.drop();
                else
                        this.channel.write({ result: text });
        }

        // Gives the program display(), and returns its source with the last expression marked, or null.
        prepare(source, isModule) {
                const rich = this;

                Object.defineProperty(globalThis, 'display', {
                        configurable: true,
                        writable: true,
                        value: function display(type, data, metadata) {
                                if (arguments.length < 2)
                                        rich.showValue(type);
                                else
                                        rich.show(type, data, metadata);
                        },
                });
                return markLast(source, isModule, (value) => this.showLast(value));
        }

        warm() {
                util.inspect({ a: [1, 'b'] });
                markLast("const a = 1;\na + '2';\n", false, () => {});
                delete globalThis[markLast.NAME];
        }
}

exports.open = (fd) => new Rich(fd);
