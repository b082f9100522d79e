// SPDX-License-Identifier: Apache-2.0
'use strict';

// Stack traces show what called a program. These functions take the places of node's own, and so they bear the names
// and the positions of those: they are compiled as if they were in node's sources, with the call at the same place.

const vm = require('vm');

// Where node's own calls are, taken from the stack on which this file is loaded.
function findFrames() {
        const limit = Error.stackTraceLimit;

        Error.stackTraceLimit = Infinity;
        const lines = new Error().stack.split('\n');
        Error.stackTraceLimit = limit;

        const at = (line) => {
                const [, file, row, column] = /(node:[^\s():]+(?::[^\s():]+)*?):(\d+):(\d+)\)?$/.exec(line) || [];

                return file && { file, row: Number(row), column: Number(column) };
        };

        return { main: at(lines.at(-1)), compile: at(lines.find((line) => line.includes(' Module._compile '))) };
}

const frames = findFrames();

// The value of an expression whose part @call lies in the place of @frame.
function compileAt(frame, before, call, after) {
        const { file, row, column } = frame || { file: 'node:internal', row: 2, column: 1 };
        const code = `${'\n'.repeat(row - 2)}(${before}\n${' '.repeat(column - 1)}${call}${after})`;

        return vm.runInThisContext(code, { filename: file });
}

// (Module, file): starts a program. What regular expressions remember is none of its business.
exports.callMain = compileAt(frames.main, '(Module, file) => { /^/.exec(""); Module.', 'runMain(file);', '}');

// Given @prepare, a method of modules that calls the function and the arguments that prepare(module) returns.
exports.makeCompile = compileAt(frames.compile,
        '(prepare, apply, setExecuting) => { const Module = { prototype: {} }; Module.prototype._compile = function () { ' +
        'const [call, ...rest] = prepare(this);',
        'apply(call, this.exports, rest);', ' setExecuting(this, false); }; return Module.prototype._compile; }');
