// SPDX-License-Identifier: Apache-2.0
// Programs for test_javascript_same.py: CommonJS and ES modules.
//// require of a relative file
//: file lib/a.js "exports.x = 1; exports.parent = module.parent === require.main; exports.f = __filename;"
const a = require('./lib/a'); console.log(a.x, a.parent, a.f, module.children.length, module.children[0].id,
        Object.keys(require.cache));
//// require of json
//: file data.json "{\"a\": [1, 2]}"
console.log(require('./data.json'), require('./data'), require.resolve('./data'));
//// require of a directory
//: file pkg/index.js "module.exports = 'index';"
console.log(require('./pkg'));
//// require of a package
//: file node_modules/p/package.json "{\"main\": \"m.js\", \"version\": \"1.2.3\"}"
//: file node_modules/p/m.js "module.exports = [__dirname, module.paths.length, require.main.filename];"
console.log(require('p'), require('p/package.json').version, require.resolve('p'), require.resolve.paths('p')[0]);
//// require of a package with exports
//: file node_modules/p/package.json "{\"exports\": {\".\": {\"import\": \"./i.mjs\", \"require\": \"./r.js\"}, "
//: file node_modules/p/package.json "\"./x\": \"./x.js\"}}"
//: file node_modules/p/i.mjs "export default 'import';"
//: file node_modules/p/r.js "module.exports = 'require';"
//: file node_modules/p/x.js "module.exports = 'x';"
console.log(require('p'), require('p/x')); import('p').then((m) => console.log(m.default));
try { require('p/y'); } catch (e) { console.log(e.code); }
//// require of a package above
//: directory "a/b"
//: file node_modules/up/index.js "module.exports = 'up';"
console.log(require('up'), process.cwd().endsWith('a/b'));
//// require in a circle
//: file a.js "exports.early = 1; const b = require('./b'); exports.late = b.seen;"
//: file b.js "exports.seen = Object.keys(require('./a'));"
console.log(require('./a'));
//// require of an es module
//: file m.mjs "export const x = 1; export default function f() {}"
try { const m = require('./m.mjs'); console.log(m); } catch (e) { console.log(e.code); }
//// require of builtins
console.log(require('fs') === require('node:fs'), require('module').builtinModules.length,
        require('node:test') !== undefined);
//// create require
const { createRequire, isBuiltin } = require('module'); const r = createRequire(__filename);
console.log(r('path') === require('path'), r.main === module, isBuiltin('fs'), r.cache === require.cache);
//// hooks of require
//: file a.txt "hello"
require.extensions['.txt'] = (m, f) => { m.exports = require('fs').readFileSync(f, 'utf8').toUpperCase(); };
console.log(require('./a.txt'));
//// cache of require
//: file a.js "console.log('loaded');"
require('./a'); require('./a'); delete require.cache[require.resolve('./a')]; require('./a');
//// module wrapper
const M = require('module'); console.log(M.wrap('x'), M.wrapper.length, module.constructor === M,
        module instanceof M, require.length);
//// own exports seen by another
//: file a.js "module.exports = Object.keys(require.main.exports);"
exports.one = 1; console.log(require('./a')); module.exports = { two: 2 }; exports.three = 3;
//// node path
//: env NODE_PATH "np"
//: file np/q.js "module.exports = 'from NODE_PATH';"
console.log(require('q'), require('module').globalPaths.includes('np'));
//// dynamic import
//: file m.mjs "export const x = 1; export default 2; console.log(import.meta.url);"
import('./m.mjs').then((m) => console.log(m, m.x));
        import('fs').then((m) => console.log(m.default === require('fs')));
import('./missing.mjs').catch((e) => console.log(e.code, e.message));
//// dynamic import of json
//: file d.json "{\"a\": 1}"
import('./d.json', { with: { type: 'json' } }).then((m) => console.log(m.default),
        (e) => console.log(e.code)).then(() =>
        import('./d.json')).catch((e) => console.log(e.code));
//// dynamic import in functions
//: file m.mjs "export default 1;"
async function load() { const { default: d } = await import(`${'./m'}.mjs`); return d; }
load().then(console.log); new Function("return import('fs')")().then((m) => console.log(typeof m),
        (e) => console.log(e.code));
//// package says commonjs
//: file package.json "{\"type\": \"commonjs\"}"
console.log(typeof require, require.main === module);
//// package says commonjs, program imports
//: file package.json "{\"type\": \"commonjs\"}"
import fs from 'fs';
console.log(typeof fs);
//// package says commonjs, program awaits
//: file package.json "{\"type\": \"commonjs\"}"
await null;
//// package says module
//: file package.json "{\"type\": \"module\"}"
console.log(this, import.meta.url, process.mainModule);
//// package says module, program fails
//: file package.json "{\"type\": \"module\"}"
const x = 1;
throw new Error('strict and async');
//// package says module, program has a syntax error
//: file package.json "{\"type\": \"module\"}"
const x = ;
//// package says nothing
//: file package.json "{\"name\": \"p\", \"imports\": {\"#x\": \"./x.js\"}}"
//: file x.js "module.exports = 'x';"
console.log(require('#x'));
//// package says nothing, program imports
//: file package.json "{\"name\": \"p\"}"
import path from 'path';
console.log(path.sep);
//// package is broken
//: file package.json "{\"name\": "
console.log(1);
//// import of builtins
import fs, { readFileSync } from 'node:fs'; import * as path from 'path'; import process from 'process';
console.log(fs.readFileSync === readFileSync, path.default.join === path.join, process === globalThis.process);
//// import of relative files
//: file a.mjs "export let n = 0; export const up = () => ++n; export { up as default };"
//: file b.cjs "exports.c = 3;"
import up, { n } from './a.mjs'; import { c } from './b.cjs'; import b from './b.cjs';
up(); console.log(n, c, b);
//// import of json
//: file d.json "{\"a\": 1}"
import d from './d.json' with { type: 'json' };
console.log(d);
//// import of a package
//: file node_modules/p/package.json "{\"type\": \"module\", \"exports\": \"./i.js\"}"
//: file node_modules/p/i.js "export const where = import.meta.url; export default 1;"
import one, { where } from 'p';
console.log(one, where);
//// import of what is missing
import { nothing } from './missing.mjs';
//// import of a missing name
//: file a.mjs "export const x = 1;"
import { y } from './a.mjs';

console.log(y);
//// import of a missing name from commonjs
//: file a.cjs "module.exports = { x: 1 };"
import { y } from './a.cjs';
//// import of a missing package
import x from 'no-such-package-here';
//// import of a directory
//: file d/index.js ""
import './d';
//// import of what throws
//: file a.mjs "const x = 1;\nthrow new Error('in a');"
import './a.mjs';
//// import of a syntax error
//: file a.mjs "export const = 1;"
import './a.mjs';
//// import in a circle
//: file a.mjs "import { b } from './b.mjs'; export const a = () => b;"
//: file b.mjs "import { a } from './a.mjs'; export const b = typeof a;"
import { a } from './a.mjs';
console.log(a());
//// import meta
console.log(import.meta.url, import.meta.dirname, import.meta.filename, Object.keys(import.meta),
        typeof import.meta.resolve, import.meta.resolve('./x.js'));
//// argv of a module
import process from 'node:process';
console.log(process.argv, process.argv[1] === new URL(import.meta.url).pathname, process.execArgv,
        process.mainModule);
//// this and globals of a module
import 'fs';
console.log(this, typeof module, typeof exports, typeof __filename, typeof __dirname);
//// strictness of a module
import 'fs';
try { undefinedName = 1; } catch (e) { console.log(e.message); }
//// exports of the main module
export const x = 1;
export default class A {}
export function f() {}
export { x as y };
console.log(x, A.name, f.name);
//// export default of a value
export default { a: 1 };
console.log('exported');
//// export from another
//: file a.mjs "export const a = 1;"
export * from './a.mjs';
export { a as b } from './a.mjs';
console.log('re-exported');
//// order of evaluation
//: file a.mjs "console.log('a'); await null; console.log('a2');"
//: file b.mjs "console.log('b');"
console.log('main');
import './a.mjs';
import './b.mjs';
//// order of phases in a module
setImmediate(() => console.log('immediate')); process.nextTick(() => console.log('tick'));
Promise.resolve().then(() => console.log('promise')); console.log('sync');
await null;
console.log('after await');
//// errors in a module
import 'fs';
function f() {
        throw new TypeError('in f');
}
f();
//// stack in a module
console.log(new Error('x').stack);
import 'fs';
//// stack in a module after await
await null;
console.log(new Error('x').stack);
//// top level await
const x = await Promise.resolve(5);
console.log(x, await 1, await (async () => 2)());
//// top level await in blocks
for (const x of [1, 2]) { await null; console.log(x); }
try { await Promise.reject(new Error('no')); } catch (e) { console.log(e.message); }
//// for await
for await (const x of (async function* () { yield 1; yield 2; })()) console.log(x);
//// await is a name in a script
var await = 5; console.log(await);
//// word import in a string
console.log('import x from "y"', /export/.source); const imports = 1; console.log(imports);
//// use strict and import
'use strict';
import os from 'os';
console.log(typeof os.cpus);
//// register of nothing
const { register, syncBuiltinESMExports } = require('module');
        console.log(typeof register, typeof syncBuiltinESMExports);
//// replaced builtin
const fs = require('fs'); fs.readFileSync = () => 'replaced'; require('module').syncBuiltinESMExports();
import('fs').then((m) => console.log(m.readFileSync('x')));
//// self reference of the main module
//: file lib.js "module.exports = (m) => m.x + 1;"
module.x = 4; console.log(require('./lib')(module), require.main.children.map((c) => c.id),
        module.require('./lib') !== undefined);
//// web assembly
const bytes = Uint8Array.from([0, 97, 115, 109, 1, 0, 0, 0, 1, 7, 1, 96, 2, 127, 127, 1, 127, 3, 2, 1, 0, 7, 7, 1, 3,
        97, 100, 100, 0, 0, 10, 9, 1, 7, 0, 32, 0, 32, 1, 106, 11]);
WebAssembly.instantiate(bytes).then((m) => console.log(m.instance.exports.add(2, 3)));
