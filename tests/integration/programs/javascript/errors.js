// SPDX-License-Identifier: Apache-2.0
// Programs for test_javascript_same.py: errors, and how programs end.
//// thrown at the top
console.log('before');
throw new Error('boom');
//// thrown in a function
function a() { b(); }
function b() {
        throw new TypeError('deep');
}
a();
//// thrown number
throw 5;
//// thrown null
throw null;
//// thrown undefined
throw undefined;
//// thrown object
throw { a: 1, toString() { return 'x'; } };
//// thrown string
throw 'text\nof two lines';
//// thrown symbol
throw Symbol('s');
//// thrown function
throw function f() {};
//// error with properties
const e = new Error('with properties');
e.code = 'E_CODE'; e.extra = { a: [1, 2] };
throw e;
//// error with a cause
throw new Error('outer', { cause: new RangeError('inner') });
//// aggregate error
throw new AggregateError([new Error('a'), new Error('b')], 'many');
//// error of its own class
class MyError extends Error { constructor(m) { super(m); this.name = 'MyError'; this.status = 4; } }
throw new MyError('own');
//// error without a stack
const e = new Error('no stack'); delete e.stack; e.stack = undefined;
throw e;
//// frozen error
throw Object.freeze(new Error('frozen'));
//// error with another stack
const e = new Error('x'); e.stack = 'my own stack'; throw e;
//// error made elsewhere
const make = () => new Error('made here');
const e = make();
throw e;
//// error of many lines
throw new Error('line one\nline two\n    at fake (file.js:1:1)');
//// reference error
console.log(1);
        undefinedName;
//// type error
const o = {};
o.a.b.c;
//// not a function
const x = 1;

x();
//// assignment to a constant
const c = 1;
c = 2;
//// temporal dead zone
console.log(late);
let late = 1;
//// range error
new Array(-1);
//// too deep recursion
function f() { f(); }
try { f(); } catch (e) { console.log(e.name, e.message); }
//// syntax error
let = ;
//// syntax error in line three
const a = 1;
const b = 2;
const c = (a + ;
//// syntax error: missing brace
function f() {
        if (true) {
//// syntax error: bad string
const s = 'abc
//// syntax error: twice declared
let a = 1;
let a = 2;
//// syntax error: await in a function
function f() { await g(); }
f();
//// syntax error in a module
import fs from 'fs';
const x = ;
//// syntax error in a strict program
'use strict';
with (a) {}
//// syntax error: illegal break
break;
//// json error
JSON.parse('{"a": }');
//// missing module
require('./missing');
//// missing package
require('no-such-package-here');
//// missing builtin
require('node:nothing');
//// error in a required file
//: file lib.js "exports.f = () => {\n  throw new Error('in lib');\n};\n"
const { f } = require('./lib');
f();
//// syntax error in a required file
//: file lib.js "const a = 1;\nconst b = ;\n"
require('./lib');
//// thrown while a file is required
//: file lib.js "throw new Error('at load');\n"
require('./lib.js');
//// thrown in a timer
setTimeout(() => { throw new Error('in a timer'); }, 1);

console.log('first');
//// thrown in an immediate
setImmediate(() => { throw new Error('in an immediate'); });
//// thrown in a tick
process.nextTick(() => { throw new Error('in a tick'); });
//// thrown in a microtask
queueMicrotask(() => { throw new Error('in a microtask'); });
//// thrown in a listener
const { EventEmitter } = require('events'); const e = new EventEmitter();
e.on('x', () => { throw new Error('in a listener'); });

e.emit('x');
//// error event without a listener
new (require('events'))().emit('error', new Error('nobody listens'));
//// error event without an error
new (require('events'))().emit('error', { a: 1 });
//// unhandled rejection
Promise.reject(new Error('rejected'));
console.log('goes on');
setTimeout(() => console.log('never'), 50);
//// unhandled rejection of a value
Promise.reject(42);
//// unhandled rejection of nothing
Promise.reject();
//// unhandled rejection of an object
Promise.reject({ a: { b: [1] } });
//// rejected in an async function
async function main() {
        await null; throw new Error('in main');
}
main();
//// rejected deep in async functions
async function a() { await b(); }
async function b() { await new Promise((r) => setTimeout(r, 1)); c(); }
function c() {
        throw new Error('async deep');
}
a();
//// rejection handled late
const p = Promise.reject(new Error('late'));
// much later
setTimeout(() => p.catch(() => console.log('caught')), 1);
//// mark at the end of a line that fails
undefinedName.x;
5
//// rejection handled in time
const p = Promise.reject(new Error('in time'));
process.nextTick(() => p.catch((e) => console.log('caught', e.message)));
//// listener of unhandled rejections
process.on('unhandledRejection', (reason, promise) => console.log('got', reason.message, promise instanceof Promise));
Promise.reject(new Error('x')); setTimeout(() => console.log('alive'), 5);
//// listener of late handling
process.on('unhandledRejection', () => console.log('unhandled')).on('rejectionHandled', () => console.log('handled'));
const p = Promise.reject(new Error('x')); setTimeout(() => p.catch(() => {}), 5);
//// listener of uncaught exceptions
process.on('uncaughtException', (e, origin) => console.log('got', e.message, origin));
setTimeout(() => console.log('alive'), 5);
throw new Error('x');
//// listener of uncaught exceptions from promises
process.on('uncaughtException', (e, origin) => console.log('got', e.message, origin)); Promise.reject(new Error('p'));
//// listener of uncaught exceptions that throws
process.on('uncaughtException', () => { throw new Error('second'); });
throw new Error('first');
//// monitor of uncaught exceptions
process.on('uncaughtExceptionMonitor', (e, origin) => console.log('seen', e.message, origin));
throw new Error('x');
//// capture callback
process.setUncaughtExceptionCaptureCallback((e) => console.log('captured', e.message));
throw new Error('x');
//// stack of an error
function outer() { return inner(); }
function inner() { return new Error('stack').stack; }
console.log(outer());
//// stack of an error at the top
console.log(new Error('top').stack);
//// stack in a callback
setTimeout(function named() { console.log(new Error('t').stack); }, 1);
setImmediate(() => console.log(new Error('i').stack));
process.nextTick(() => console.log(new Error('n').stack));
Promise.resolve().then(() => console.log(new Error('p').stack));
//// endless stack
Error.stackTraceLimit = Infinity;
console.log(new Error('all').stack);
//// prepared stack
Error.prepareStackTrace = (e, sites) => sites.map((s) => [s.getFunctionName(), s.getTypeName(), s.getLineNumber(),
        s.isToplevel(),
        s.isNative(), s.isConstructor(), s.getFileName()].join());
console.log(new Error('x').stack);
//// captured stack
const o = {}; Error.captureStackTrace(o); console.log(o.stack);
//// async stack
const sleep = (ms) => new Promise((r) => setTimeout(r, ms));
(async function first() { await (async function second() { await sleep(1); console.log(new Error('x').stack); })();
        })();
//// logged errors
console.log(new Error('logged')); console.log({ e: new Error('nested') });
console.error(new TypeError('on stderr'));
//// logged error with a cause
console.log(new Error('a', { cause: new Error('b', { cause: 'c' }) }));
//// assertion
require('assert').strictEqual(1, 2);
//// assertion with a message
require('assert')(false, 'must be true');
//// assertion of deep equality
require('assert').deepStrictEqual({ a: 1, b: [1, 2] }, { a: 1, b: [1, 3] });
//// assertion of the source
const assert = require('assert'); try { assert(1 === 2); } catch (e) { console.log(e.code, e.generatedMessage); }
//// errors of fs
const fs = require('fs');
try { fs.readFileSync('/no/such/file'); } catch (e) {
        console.log(e.code, e.errno, e.message, e.stack.split('\n').length); }
fs.readFile('/no/such/file', (e) => console.log(e.message));
//// error of fs uncaught
require('fs').readFileSync('/no/such/file');
//// warnings
process.emitWarning('careful'); process.emitWarning('old', 'DeprecationWarning', 'DEP_X');
setTimeout(() => {}, 2 ** 31);
setTimeout(() => process.exit(), 5);
//// deprecated calls
new Buffer(1); require('url').parse('http://[::1]:99999999/'.slice(0, 10)); require('util').isArray([]);
//// too many listeners
const e = new (require('events'))(); for (let i = 0; i < 11; i++) e.on('x', () => {});
        console.log(e.listenerCount('x'));
//// called in the last line, and not there
const a = 1;
nope(a);
//// called in the only line, and not there
nope(1)
//// statement in a comment at the end
let x = 5; // a
(() => x)() // b; x
