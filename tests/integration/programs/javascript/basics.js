// SPDX-License-Identifier: Apache-2.0
// Programs for test_javascript_same.py. Each begins with a line of four slashes and its name: see lib/js_programs.py.
//// nothing
//// only a comment
// nothing to do
//// hello
console.log('hello');
//// many kinds of values
console.log(1, -0, 1n, 'a', true, null, undefined, Symbol('s'), [1, , 3], { a: { b: { c: { d: 1 } } } }, () => 1,
        class A {}, new Map([[1, { a: 2 }]]), new Set('abc'), new Date(0), /x/g, new Error('e').message,
                new Uint8Array(3),
        Buffer.from('abc'), new (class Foo { x = 1; })(), Promise.resolve(4), new WeakMap(), [1.5, NaN, Infinity]);
//// formats
console.log('%s %d %i %f %j %o %O %c %%', 'a', 1.5, 1.9, '2.5', { a: 1 }, [1], { b: 2 }, 'css');
console.table([{ a: 1, b: 2 }, { a: 3, b: 4 }]);
console.group('g'); console.log('in'); console.groupEnd(); console.log('out');
console.dir({ a: { b: { c: { d: 1 } } } }, { depth: 0 });
console.count(); console.count('x'); console.countReset(); console.count();
//// console on stderr
console.error('e'); console.warn('w'); console.trace('t'); console.assert(1 === 2, 'no'); console.debug('d');
        console.info('i');
//// names of globals
console.log(Object.keys(globalThis));
console.log(Object.getOwnPropertyNames(globalThis).filter((n) => !['display', '__last'].includes(n)).sort().join());
//// globals of a module
console.log(typeof require, typeof module, typeof exports, typeof __filename, typeof __dirname,
        this === module.exports,
        exports === module.exports, arguments.length, arguments[0] === exports, arguments[3] === __filename);
//// main
console.log(require.main === module, module.id, module.loaded, module.parent, module.children, module.path,
        module.paths,
        process.mainModule === module, module.filename === __filename, __dirname === process.cwd());
//// module inspected
console.log(module, Object.keys(require), require.cache === require('module')._cache, Object.keys(require.cache));
//// argv
console.log(process.argv, process.argv0, process.execArgv, process.execPath === process.argv[0], process.title);
console.log(process._eval, process.stdin.fd, process.stdout.fd, process.stderr.fd);
//// process properties
console.log(process.version === process.versions.node.replace(/^/, 'v'), process.release.name, process.platform,
        process.arch,
        process.exitCode, process._exiting, process.connected, process.channel, typeof process.send,
                process.debugPort,
        process.allowedNodeEnvironmentFlags.size > 10, process.report?.filename, process.noDeprecation,
        process.throwDeprecation, process.traceDeprecation, process.features);
//// listeners of the process
console.log(process.eventNames(), process.listenerCount('exit'), process.listenerCount('uncaughtException'),
        process.listenerCount('uncaughtExceptionMonitor'), process.listenerCount('newListener'), process.domain);
//// own properties of the process
console.log(Object.keys(process).filter((k) => k !== '_events' && k !== '_eventsCount').sort().join());
//// active handles and resources
console.log(process._getActiveHandles().length, process._getActiveRequests().length,
        process.getActiveResourcesInfo());
//// strict directive
'use strict';
try { undefinedName = 1; } catch (e) { console.log(e.name, e.message); }
console.log((function () { return this; })());
//// sloppy mode
undeclared = 1; console.log(undeclared, (function () { return this === globalThis;
        })(), typeof globalThis.undeclared);
var v = 1; console.log(globalThis.v, 010, delete globalThis.undeclared);
//// return at the top
console.log(1);
if (process.argv.length) return;
console.log(2);
//// return of a value
return 5;
//// hashbang
#!/usr/bin/env node
console.log(new Error('x').stack.split('\n')[1]);
//// byte order mark
﻿console.log('bom', __filename.length > 0);
//// byte order mark and import
﻿import fs from 'fs';
console.log(typeof fs.readFileSync, import.meta.url);
//// windows line ends
//: crlf true
const a = 1;
console.log(a,
        new Error('x').stack.split('\n')[1]);
console.log(`a
b`.length);
//// no newline at the end
//: chomp true
console.log('end') // comment
//// unicode
console.log('héllo wörld ✓ 🎉 中文', '🎉'.length, Buffer.from('🎉').length);
//// nul in a string
console.log('a\0b'.length, JSON.stringify('a\u2028b'));
//// line separators in the source
const s = 'a b';
console.log(s.length, new Error('x').stack.split('\n')[1]);
//// html comments
<!-- ignored
console.log(1);
--> ignored too
console.log(2);
//// a source map comment
console.log(new Error('x').stack.split('\n')[1]);
//# sourceMappingURL=data:application/json;base64,eyJ2ZXJzaW9uIjozLCJzb3VyY2VzIjpbImEudHMiXSwibWFwcGluZ3MiOiJBQUFBIn0=
//// labels and blocks
outer: for (let i = 0; i < 3; i++) { for (;;) { if (i === 1) break outer; continue outer; } }
{ let x = 1; { let x = 2; console.log(x); } console.log(x); }
//// hoisting
console.log(typeof f, typeof v, f());
function f() { return 1; }
var v = 2;
//// asi
const a = 1
const b = 2
;[a, b].forEach((x) => console.log(x))
const c = a
+ b
console.log(c)
let d = a
;(function () { console.log('iife') })()
//// getters and proxies
const p = new Proxy({}, { get: (t, k) => (typeof k === 'symbol' ? undefined : k.toUpperCase()) });
console.log(p.abc, Object.getOwnPropertyDescriptor({ get a() { return 1; } }, 'a').get.name);
//// generators
function* g() { yield 1; yield* [2, 3]; return 4; }
console.log([...g()], Array.from(g(), (x) => x * 2));
(async () => { for await (const x of (async function* () { yield 1; yield 2; })()) console.log(x); })();
//// json
console.log(JSON.stringify({ a: [1, { b: undefined }], c: new Date(0) }, null, 2));
//// big integers
console.log(2n ** 100n, BigInt.asUintN(8, 257n), typeof 1n, BigInt(10) / 3n);
//// regular expressions
console.log('2020-01-02'.replace(/(?<y>\d+)-(?<m>\d+)-(?<d>\d+)/u, '$<d>/$<m>/$<y>'), RegExp.$1, /\p{L}/u.test('é'));
//// regexp statics at the start
console.log(JSON.stringify([RegExp.$1, RegExp.lastMatch, RegExp['$_'], RegExp.leftContext, RegExp.input]));
//// typed arrays and views
const b = new ArrayBuffer(8); new DataView(b).setFloat32(0, 1.5); console.log(new Uint8Array(b), b);
//// weak references
console.log(new WeakRef({}).deref() !== undefined, typeof FinalizationRegistry, typeof globalThis.gc);
//// structured clone
const x = { a: new Map([[1, new Date(0)]]) }; x.self = x; console.log(structuredClone(x));
//// prototypes are untouched
console.log(Object.keys(Object.prototype), Object.keys(Array.prototype),
        Object.getOwnPropertyNames(Function.prototype).sort().join(),
        Error.stackTraceLimit, Error.prepareStackTrace, Object.getOwnPropertyNames(Error).sort().join());
//// builtins are untouched
const fs = require('fs'), Module = require('module');
console.log(fs.readFileSync.name, fs.readFileSync.length, fs.promises.readFile.name, Module._findPath.length,
        Module.runMain.name,
        Object.keys(fs).length, Object.keys(Module).join(), Object.keys(fs.promises).length,
                String(Module._findPath).length);
for (const o of [fs, fs.promises, Module]) console.log(Object.entries(Object.getOwnPropertyDescriptors(o)).map(([k,
        d]) =>
        k + (d.writable ? 'w' : '') + (d.enumerable ? 'e' : '') + (d.configurable ? 'c' : '')).join());
//// caches of modules
const M = require('module');
console.log(Object.keys(M._cache), Object.keys(M._pathCache), M.globalPaths.length, Object.keys(M._extensions));
//// class features
class A { #p = 1; static s = 2; static { console.log('static', this.s); } get p() { return this.#p;
        } has(o) { return #p in o; } }
console.log(new A().p, new A().has({}), new A());
//// optional things
const o = { a: null }; console.log(o?.b?.c, o.a ?? 1, o.x ||= 2, [3, 1, 2].toSorted?.(), [1, 2].at(-1),
        Object.groupBy?.([1], () => 'a'));
//// eval and new Function
console.log(eval('1 + 1'), new Function('a', 'return a * 2')(4), (0, eval)('typeof module'), eval('typeof module'));
//// vm
const vm = require('vm');
console.log(vm.runInNewContext('a + 1', { a: 2 }), vm.runInThisContext('typeof require'),
        new vm.Script('1+2').runInThisContext());
//// with statement
with ({ a: 1 }) console.log(a);
//// display is a name of the program
const display = (x) => console.log('mine', x);
display(5);
//// display as a function of the program
function display(x) { return x * 2; }
console.log(display(4));
//// last value is a function
const f = () => { console.log('called'); };
f
//// last value is a string
'just a string';
//// last value has an inspector
console.log('before');
({ [require('util').inspect.custom]() { return 'custom'; } });
//// last value throws when it is inspected
({ [require('util').inspect.custom]() { throw new Error('no'); } });
//// last value is a proxy with traps
new Proxy({}, { get() { console.log('trap'); }, ownKeys() { console.log('keys'); return []; } })
//// last value is an assignment
module.exports = { a: 1 };
//// anonymous functions keep their names
const o = {};
o.f = () => {}
console.log(o.f.name);
(() => {}).name
