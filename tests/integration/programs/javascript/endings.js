// SPDX-License-Identifier: Apache-2.0
// Programs for test_javascript_same.py: ends, signals and the order of events.
//// exit with a code
console.log(1); process.exit(5); console.log(2);
//// exit without a code
process.exit(); console.log(2);
//// exit code as a property
process.exitCode = 7;
//// exit code and a failure
process.exitCode = 7; throw new Error('x');
//// exit code as text
process.exit('3');
//// exit code out of range
process.exit(256 + 9);
//// exit code that is none
process.exit('abc');
//// exit code of a wrong type
process.exitCode = {};
//// exit in a listener
process.on('exit', (c) => { console.log('exit', c); process.exit(9); console.log('never'); });
//// exit code in a listener
process.on('exit', (c) => { console.log('exit', c); process.exitCode = 8; });
//// several listeners of exit
process.on('exit', (c) => console.log('a', c)); process.once('exit', () => console.log('b'));
process.prependListener('exit', () => console.log('first')); setTimeout(() => console.log('timer'), 1);
//// listener of exit that throws
process.on('exit', () => { throw new Error('in exit'); });
//// listener of exit after a failure
process.on('exit', (c) => console.log('exit', c, process.exitCode)); throw new Error('x');
//// listener of exit with work for later
process.on('exit', () => { setTimeout(() => console.log('never'), 0);
        Promise.resolve().then(() => console.log('micro')); process.nextTick(() => console.log('tick')); });
//// stack in a listener of exit
process.on('exit', function last() { console.log(new Error('x').stack); });
//// stack in a listener of exit by exit
process.on('exit', function last() { console.log(new Error('x').stack); });
process.exit(0);
//// before exit
let n = 0; process.on('beforeExit', (c) => { console.log('before', c);
        if (n++ < 2) setTimeout(() => console.log('more'), 1); });
process.on('exit', (c) => console.log('exit', c));
//// before exit that throws
process.on('beforeExit', () => { throw new Error('in beforeExit'); });
//// before exit after a failure
process.on('beforeExit', () => console.log('never')); process.on('exit', (c) => console.log(c)); throw 1;
//// before exit that ends
process.on('beforeExit', () => process.exit(4)); process.on('exit', (c) => console.log('exit', c));
//// rejection in exit
process.on('exit', () => { Promise.reject(new Error('nobody sees it')); });
//// rejection in before exit
process.once('beforeExit', () => { Promise.reject(new Error('seen')); });
//// emit replaced
const { emit } = process; process.emit = function (name, ...rest) {
        if (name === 'exit') console.log('emit', name, ...rest); return emit.call(this, name, ...rest); };
//// emit called
process.on('x', (...a) => console.log('x', a)); console.log(process.emit('x', 1, 2), process.emit('y'),
        typeof process.emit, process.emit === require('events').prototype.emit);
//// exit really
process.on('exit', () => console.log('never')); process.reallyExit(3);
//// killed by itself
process.kill(process.pid, 'SIGKILL'); setInterval(() => {}, 1000);
//// terminated by itself
setInterval(() => {}, 1000); process.kill(process.pid, 'SIGTERM');
//// interrupted by itself
setInterval(() => {}, 1000); process.kill(process.pid, 'SIGINT');
//// hung up
setInterval(() => {}, 1000); process.kill(process.pid, 'SIGHUP');
//// handler of a signal
process.on('SIGTERM', (name, n) => { console.log('got', name, n); process.exit(0); }); setInterval(() => {}, 1000);
process.kill(process.pid, 'SIGTERM');
//// handler of several signals
for (const s of ['SIGINT', 'SIGUSR2', 'SIGHUP']) process.once(s, (name) => { console.log(name); });
const t = setInterval(() => {}, 1000);
(async () => { for (const s of ['SIGINT', 'SIGUSR2', 'SIGHUP']) { const p = new Promise((r) => process.once(s, r));
        process.kill(process.pid, s); await p; } clearInterval(t); })();
//// broken pipe is an error
process.stdout.on('error', (e) => { console.error(e.code); process.exit(2); });
const { Socket } = require('net'); console.log(process.listenerCount('SIGPIPE'));
//// order of phases
setTimeout(() => console.log('timeout'), 500); setImmediate(() => console.log('immediate'));
process.nextTick(() => console.log('tick')); Promise.resolve().then(() => console.log('promise'));
queueMicrotask(() => console.log('microtask')); console.log('sync');
(async () => { console.log('async start'); await null; console.log('async end'); })();
//// ticks and promises nested
Promise.resolve().then(() => { console.log('p1'); process.nextTick(() => console.log('t1'));
        }).then(() => console.log('p2'));
process.nextTick(() => { console.log('t2'); Promise.resolve().then(() => console.log('p3'));
        process.nextTick(() => console.log('t3')); });
setImmediate(() => { console.log('i1'); process.nextTick(() => console.log('t4'));
        Promise.resolve().then(() => console.log('p4')); });
setImmediate(() => console.log('i2'));
//// phases after reading
require('fs').readFile(__dirname, () => { setTimeout(() => console.log('timeout'), 0);
        setImmediate(() => console.log('immediate')); });
//// timers in order
for (const ms of [30, 10, 20, 0, 1]) setTimeout(() => console.log(ms), ms);
const i = setInterval(() => { console.log('tick'); if (++i.n === 2) clearInterval(i); }, 41); i.n = 0;
//// timers that do not count
setTimeout(() => console.log('never'), 100000).unref(); const t = setTimeout(() => {}, 1);
        console.log(t.hasRef(), typeof +t);
clearTimeout(setTimeout(() => console.log('cleared'), 1));
//// timers with promises
const { setTimeout: sleep, setImmediate: soon } = require('timers/promises');
(async () => { console.log(await sleep(1, 'a'), await soon('b')); })();
//// long loop before timers
setTimeout(() => console.log('timeout'), 1); setImmediate(() => console.log('immediate'));
const end = Date.now() + 10; while (Date.now() < end);
//// top level await that never ends

await new Promise(() => {});
//// top level await that never ends, with an exit code
process.exitCode = 3;

await new Promise(() => {});
//// top level await that never ends, with listeners
process.on('exit', (c) => console.log('exit', c));

await new Promise(() => {});
//// top level await that fails

await Promise.reject(new Error('rejected'));
//// top level await in time
console.log(await new Promise((r) => setTimeout(r, 5, 'late')));
//// exit during top level await
setTimeout(() => process.exit(6), 1); await new Promise(() => {});
//// thrown after top level await
await null;
throw new Error('after');
//// abort of a signal
const c = new AbortController(); c.signal.addEventListener('abort', () => console.log(c.signal.reason.name));
        c.abort();
AbortSignal.timeout(1).onabort = (e) => console.log(e.type); setTimeout(() => {}, 10);
//// async local storage
const { AsyncLocalStorage } = require('async_hooks'); const s = new AsyncLocalStorage();
console.log(s.getStore()); s.run({ id: 1 }, () => setTimeout(() => console.log(s.getStore()), 300)); s.enterWith(2);
Promise.resolve().then(() => console.log(s.getStore())); setImmediate(() => console.log(s.getStore()));
//// async hooks
const h = require('async_hooks'); const kinds = []; h.createHook({ init(id, type) { kinds.push(type); } }).enable();
setTimeout(() => {}, 1); Promise.resolve().then(() => {}); setImmediate(() => { process._rawDebug(kinds.join()); });
//// async resource at the top
const h = require('async_hooks'); console.log(h.executionAsyncId(), h.triggerAsyncId(),
        Object.keys(h.executionAsyncResource()));
//// domain
const d = require('domain').create(); d.on('error', (e) => console.log('domain', e.message));
        d.run(() => setTimeout(() => { throw new Error('x'); }, 1));
//// performance
const { performance: p, PerformanceObserver: O } = require('perf_hooks');
        console.log(p.now() > 0, p.timeOrigin > 0, typeof O);
p.mark('a'); p.mark('b'); console.log(p.measure('m', 'a', 'b').name, p.getEntriesByType('mark').length,
        process.uptime() > 0);
//// entries of performance
console.log(performance.getEntries().map((e) => e.name), performance.nodeTiming.name);
//// only listener of exit, once
process.once('exit', () => { console.log('once'); process.emit('other'); console.log('and on'); }); process.exit();
