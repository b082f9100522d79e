// SPDX-License-Identifier: Apache-2.0
// Programs for test_javascript_same.py: input, output, files, environment, processes, threads and network.
//// input by events
//: stdin "one\ntwo\n"
let s = ''; process.stdin.setEncoding('utf8'); process.stdin.on('data', (d) => { s += d;
        }).on('end', () => console.log([s], process.stdin.isTTY));
//// input by lines
//: stdin "one\ntwo\nthree"
const rl = require('readline').createInterface({ input: process.stdin });
        rl.on('line', (l) => console.log('line', l)).on('close', () => console.log('closed'));
//// input by questions
//: stdin "Ann\n42\n"
const rl = require('readline').createInterface({ input: process.stdin, output: process.stdout });
rl.question('name? ', (n) => rl.question('age? ', (a) => { console.log(n, a); rl.close(); }));
//// input by promises
//: stdin "Ann\n"
const rl = require('readline/promises').createInterface({ input: process.stdin, output: process.stdout });
rl.question('name? ').then((n) => { console.log(n); rl.close(); });
//// input at once
//: stdin "all of it"
console.log(require('fs').readFileSync(0, 'utf8'), require('fs').readFileSync(0, 'utf8').length);
//// input by its path
//: stdin "all of it"
console.log(require('fs').readFileSync('/dev/stdin', 'utf8'));
//// require in a module
//: stdin "a\nb\n"
for await (const line of require('readline').createInterface({ input: process.stdin })) console.log(line);
//// input by iteration in a module
//: stdin "a\nb\n"
import { createInterface } from 'readline';
for await (const line of createInterface({ input: process.stdin })) console.log(line);
//// input that nobody reads
//: stdin "ignored"
console.log('done');
//// empty input
//: stdin ""
process.stdin.on('data', (d) => console.log('data', d)).on('end', () => console.log('end')).on('close',
        () => console.log('close'));
//// no input
process.stdin.on('data', (d) => console.log('data', d)).on('end', () => console.log('end'));
        console.log(process.stdin.constructor.name);
//// no input at once
console.log([require('fs').readFileSync(0, 'utf8')], require('fs').fstatSync(0).isCharacterDevice());
//// no input by lines
require('readline').createInterface({ input: process.stdin }).on('line', console.log).on('close',
        () => console.log('closed'));
//// no input for a question
const rl = require('readline').createInterface({ input: process.stdin, output: process.stdout });
        rl.question('? ', console.log);
rl.on('close', () => console.log('closed'));
//// input of a mebibyte
//: stdin_size 60000
let n = 0; process.stdin.on('data', (d) => { n += d.length; }).on('end', () => console.log(n));
//// kinds of standard streams
for (const s of [process.stdout, process.stderr]) console.log(s.isTTY, s.fd, s.writable, s._type, s.constructor.name,
        s.columns, s.writableHighWaterMark, s.hasColors?.());
//// output of a mebibyte
process.stdout.write('x'.repeat(1 << 20) + '\n'); console.log('after');
//// output, then exit
process.stdout.write('x'.repeat(60000)); process.exit(3);
//// output, then an error
console.log('y'.repeat(60000)); throw new Error('after much');
//// output in many lines
for (let i = 0; i < 5000; i++) console.log('line', i);
//// output with callbacks
process.stdout.write('a', () => { console.log('written'); }); process.stdout.end?.call; process.stderr.write('b\n');
//// output by descriptors
const fs = require('fs'); fs.writeSync(1, 'one\n'); fs.writeSync(2, 'two\n');
        fs.writeFileSync('/dev/stdout', 'three\n'); fs.appendFileSync('/dev/stderr', 'four\n');
//// output closed
process.stdout.end('last'); process.stdout.on('finish', () => console.error('finished'));
        setTimeout(() => console.error('still'), 300);
//// output written after its end
process.stdout.on('error', (e) => console.error(e.code)); process.stdout.end(); process.stdout.write('x');
//// output by streams
const { Readable, pipeline } = require('stream'); pipeline(Readable.from(['a', 'b', 'c\n']), process.stdout,
        (e) => console.error('end', e?.code));
//// binary output
process.stdout.write(Buffer.from([0, 255, 10, 128]));
//// descriptors that are open
const fs = require('fs'); console.log([0, 1, 2].map((fd) => { try { const s = fs.fstatSync(fd);
        return [s.isFIFO(), s.isCharacterDevice()]; } catch (e) { return e.code; } }));
//// descriptors of children
console.log(require('child_process').execFileSync('/bin/sh', ['-c',
        'for f in 3 4 5 6 7 8 9; do [ -e /proc/self/fd/$f ] && echo $f; done; echo end']).toString());
//// environment
console.log(process.env, Object.keys(process.env).length, 'PATH' in process.env, process.env.NOPE,
        process.env.LEFT_OVER);
//// environment of its own
//: env A "1"
//: env EMPTY ""
//: env TEXT "a=b c\nd é"
//: env lower "x"
console.log(process.env.A, [process.env.EMPTY], process.env.TEXT, process.env.lower); process.env.B = 5;
        delete process.env.A;
console.log(require('child_process').execSync('echo "$B-$A-$lower"').toString());
//// no environment at all
//: env PATH null
//: env HOME null
//: env LANG null
console.log(process.env, require('os').homedir() !== undefined);
//// time zone
//: env TZ "America/New_York"
console.log(new Date(0).toString(), new Date(2020, 6, 1).toISOString(), new Date(0).getTimezoneOffset(),
        Intl.DateTimeFormat().resolvedOptions().timeZone);
//// time zone in the east
//: env TZ "Asia/Kolkata"
console.log(new Date(1e12).toLocaleString(), new Date(0).getHours(), String(new Date(0)));
//// time zone changed
process.env.TZ = 'Europe/Berlin'; console.log(new Date(0).getHours(), String(new Date(0))); process.env.TZ = 'UTC';
        console.log(new Date(0).getHours());
//// no time zone
console.log(new Date(0).getTimezoneOffset(), Intl.DateTimeFormat().resolvedOptions().timeZone);
//// locale
//: env LANG "de_DE.UTF-8"
//: env LC_ALL "de_DE.UTF-8"
console.log((1234567.89).toLocaleString(), Intl.NumberFormat().resolvedOptions().locale,
        new Date(0).toLocaleDateString(), ['ä', 'z', 'a'].sort(Intl.Collator().compare));
//// locales by name
console.log(new Intl.NumberFormat('de', { style: 'currency', currency: 'EUR' }).format(1234.5),
        new Intl.PluralRules('ar').select(2), new Intl.ListFormat('fr').format(['a', 'b']));
//// colours
//: env FORCE_COLOR "1"
console.log({ a: 1 }, process.stdout.hasColors?.(), require('util').inspect('x', { colors: true }));
//// no colours
//: env NO_COLOR "1"
console.log(process.stdout.hasColors?.(), require('util').styleText?.('red', 'x'));
//// node environment
//: env NODE_ENV "production"
console.log(process.env.NODE_ENV);
//// home and user
//: env HOME "/root/x"
console.log(require('os').homedir(), require('os').tmpdir(), require('os').EOL);
//// directory
const fs = require('fs'); fs.writeFileSync('made.txt', 'x');
        console.log(fs.readdirSync('.').filter((f) => f !== 'main.js'), process.cwd() === __dirname);
process.chdir('/'); console.log(process.cwd(), __dirname !== '/');
//// require after a change of directory
//: file a.js "module.exports = 'a';"
process.chdir('/'); console.log(require('./a')); import('./a.js').then((m) => console.log(m.default));
//// files by streams and promises
const fs = require('fs'); const w = fs.createWriteStream('s.txt'); w.write('a');
        w.end('b', async () => { console.log(fs.readFileSync('s.txt', 'utf8'));
        await fs.promises.mkdir('d/e', { recursive: true }); await fs.promises.writeFile('d/e/f', 'x');
                console.log(await fs.promises.readdir('d', { recursive: true })); });
//// file modes
const fs = require('fs'); fs.writeFileSync('m', '');
        console.log((fs.statSync('m').mode & 0o777).toString(8), process.umask().toString(8));
//// source of the program itself
console.log(require('fs').readFileSync(__filename, 'utf8'));
//// main as a path
console.log(require('path').relative(process.cwd(), __filename), require('url').pathToFileURL(__filename).href);
//// rights
console.log(process.getuid(), process.geteuid(), process.getgid(), process.getgroups().length > 0, process.ppid > 0);
//// child processes
const { execSync, spawnSync, exec } = require('child_process');
        console.log(execSync('echo hi').toString(), spawnSync('sh', ['-c', 'exit 3']).status);
exec('echo out; echo err >&2; exit 2', (e, out, err) => console.log(e.code, out, err));
        execSync('echo inherited', { stdio: 'inherit' });
//// child with streams
const c = require('child_process').spawn('cat'); c.stdout.on('data', (d) => console.log('got', String(d)));
        c.on('close', (code, sig) => console.log('close', code, sig)); c.stdin.end('abc');
//// child that is missing
require('child_process').spawn('no-such-program').on('error', (e) => console.log(e.code, e.syscall));
        require('child_process').spawn('no-such-program-either');
//// child killed
const c = require('child_process').spawn('sleep', ['100']); c.on('exit', (code, sig) => console.log(code, sig));
        c.kill();
//// child of node
console.log(require('child_process').execFileSync(process.execPath, ['-p',
        'process.argv.length + process.execArgv.length']).toString());
//// child that reads our input
//: stdin "for the child\n"
require('child_process').spawn('cat', { stdio: 'inherit' });
//// fork of another script
//: file child.js "process.on('message', (m) => { process.send({ got: m, argv: process.argv.slice(2), "
//: file child.js "exec: process.execArgv }); process.disconnect(); });"
const c = require('child_process').fork('./child.js', ['a']);
        c.on('message', (m) => console.log(m)).on('exit', (code) => console.log('exit', code)); c.send({ x: 1 });
//// worker of another script
//: file w.js "const { parentPort: p, workerData: d } = require('worker_threads'); p.postMessage([d, "
//: file w.js "process.argv.length, typeof display, require.main === module, Object.keys(require.cache).length]);"
const { Worker, isMainThread } = require('worker_threads'); const w = new Worker('./w.js', { workerData: 5 });
w.on('message', (m) => console.log(m, isMainThread)).on('exit', (c) => console.log('exit', c));
//// worker of the same script
const { Worker, isMainThread, parentPort, workerData, threadId } = require('worker_threads');
if (isMainThread) new Worker(__filename, { workerData: 4 }).on('message', (m) => console.log(m)).on('exit',
        (c) => console.log('exit', c));
else parentPort.postMessage([workerData, process.argv.map((a) => a.split('/').pop()), process.execArgv,
        require.main === module, __filename, new Error('x').stack, process.env.VM_AGENT_MAIN,
        Object.keys(require.cache)]);
//// worker of the same module
import { Worker, isMainThread, parentPort } from 'node:worker_threads';
if (isMainThread) new Worker(new URL(import.meta.url)).on('message', (m) => console.log(m)).on('exit',
        (c) => console.log('exit', c));
else parentPort.postMessage([import.meta.url, process.argv.length, process.execArgv]);
//// worker of the same script that starts another
const { Worker, isMainThread, parentPort, workerData: n } = require('worker_threads');
if (isMainThread || n > 0) new Worker(__filename, {
        workerData: isMainThread ? 2 : n - 1 }).on('exit', (c) => console.log('exit', c, n));
//// class of workers
const { Worker } = require('worker_threads'); console.log(Worker.name, Worker.length);
        class W extends Worker {} console.log(new W('', { eval: true }) instanceof Worker);
//// fork of the same script
const cp = require('child_process');
if (process.send) { process.send([process.argv.slice(2), process.execArgv, __filename, require.main === module,
        process.env.VM_AGENT_MAIN, new Error('x').stack]); process.disconnect(); }
else { const c = cp.fork(__filename, ['child']); c.on('message', (m) => console.log(m, c.spawnargs.slice(1),
        c.spawnfile === process.execPath)).on('exit', (code) => console.log('exit', code)); }
//// fork of the same module
import { fork } from 'child_process';
if (process.send) { process.send([import.meta.url, process.argv.slice(2), process.execArgv]); process.disconnect(); }
else fork(new URL(import.meta.url).pathname, ['child']).on('message', (m) => console.log(m)).on('exit',
        (code) => console.log('exit', code));
//// children of the same script
const { spawnSync, execFileSync } = require('child_process');
if (process.argv[2]) { console.log('child', process.argv.slice(2), process.execArgv); process.exit(3); }
console.log(spawnSync(process.execPath, [__filename, 'a', '-b']).stdout.toString(), spawnSync('node', ['main.js',
        'x']).status);
//// cluster
const cluster = require('cluster');
if (cluster.isPrimary) { for (let i = 0; i < 2; i++) cluster.fork(); let n = 0; cluster.on('exit', (w, c) => { n++;
        console.log('exit', c, n); }); }
else process.disconnect();
//// server of a cluster
const cluster = require('cluster'), http = require('http');
if (cluster.isPrimary) cluster.fork().on('listening', (a) => http.get({
        port: a.port, host: '127.0.0.1', agent: false }, (r) => r.on('data', (d) => { console.log(String(d));
        process.exit(); })));
else http.createServer((q, r) => r.end('from a worker')).listen(0, '127.0.0.1');
//// worker by source
const { Worker } = require('worker_threads');
        new Worker('require("worker_threads").parentPort.postMessage(process.execArgv)', {
        eval: true }).on('message', (m) => console.log(m)).on('exit', (c) => console.log(c));
//// worker that fails
const { Worker } = require('worker_threads'); new Worker('throw new Error("in the worker")', {
        eval: true }).on('error', (e) => console.log(e.message)).on('exit', (c) => console.log(c));
//// worker that nobody hears
const { Worker } = require('worker_threads'); new Worker('throw new Error("unheard")', { eval: true });
process.on('uncaughtException', (e) => console.log(e.message));
//// message channels
const { MessageChannel } = require('worker_threads'); const { port1, port2 } = new MessageChannel();
        port1.on('message', (m) => { console.log(m); port1.close(); }); port2.postMessage({ a: 1 });
//// shared memory
const { Worker } = require('worker_threads'); const s = new SharedArrayBuffer(4);
        new Worker('const a = new Int32Array(require("worker_threads").workerData); Atomics.store(a, 0, 7); ' +
        'Atomics.notify(a, 0)', { eval: true, workerData: s });
Atomics.wait(new Int32Array(s), 0, 0); console.log(new Int32Array(s)[0]);
//// server and fetch
const s = require('http').createServer((q, r) => r.end(`hello ${q.url}`)).listen(0, '127.0.0.1', async () => {
        const r = await fetch(`http://127.0.0.1:${s.address().port}/x`); console.log(r.status, await r.text());
        s.close(); s.closeAllConnections(); });
//// sockets
const s = require('net').createServer((c) => c.end('bye')).listen(0, '127.0.0.1',
        () => require('net').connect(s.address().port, '127.0.0.1').on('data',
        (d) => console.log(String(d))).on('close', () => s.close()));
//// fetch that fails
fetch('http://127.0.0.1:1/').catch((e) => console.log(e.name, e.message, e.cause?.code));
//// lookup
require('dns').lookup('localhost', { family: 4 }, (e, a) => console.log(e, a));
//// crypto
const c = require('crypto'); console.log(c.createHash('sha256').update('a').digest('hex'), c.randomBytes(4).length,
        crypto.randomUUID().length, c.pbkdf2Sync('a', 'b', 1, 8, 'sha1').toString('hex'));
c.subtle.digest('SHA-1', Buffer.from('a')).then((d) => console.log(d.byteLength));
        c.scrypt('a', 'b', 8, (e, k) => console.log(k.length));
//// compression
const z = require('zlib'); console.log(z.gunzipSync(z.gzipSync('abc')).toString());
        z.deflate('x', (e, b) => console.log(b.length));
//// random numbers differ
console.log(Math.random() !== Math.random(), new Set(Array.from({ length: 100 }, Math.random)).size);
//// tests of node
const { test } = require('node:test'); test('a', () => {}); test('b', { skip: true }, () => {});
process.on('exit', () => process.stdout.write('')); process.stdout.write = () => true;
//// util
const u = require('util'); console.log(u.inspect({ a: [[[1]]] }, {
        depth: 0 }), u.format('%s', 'x'), u.promisify(setTimeout).name, u.types.isPromise(Promise.resolve()),
        u.parseArgs({ args: [] }));
//// events of the web
const t = new EventTarget(); t.addEventListener('x', (e) => console.log(e.type)); t.dispatchEvent(new Event('x'));
        console.log(new URL('http://a/b?c=d').searchParams.get('c'),
        new TextDecoder().decode(new TextEncoder().encode('é')), btoa('a'), new Blob(['ab']).size);
//// streams of the web
const r = new ReadableStream({ start(c) { c.enqueue('a'); c.close(); } });
        (async () => { for await (const x of r) console.log(x); })();
//// heap
console.log(require('v8').getHeapStatistics().heap_size_limit > 0, process.memoryUsage().rss > 0,
        process.resourceUsage().maxRSS > 0, require('v8').deserialize(require('v8').serialize({ a: 1 })));
//// inspector
const i = require('inspector'); console.log(i.url()); const s = new i.Session(); s.connect();
        s.post('Runtime.evaluate', { expression: '1+1' }, (e, r) => console.log(r.result.value)); s.disconnect();
//// repl and trace
console.log(require('repl').builtinModules.length > 10, require('trace_events').getEnabledCategories(),
        require('diagnostics_channel').channel('x').hasSubscribers);
//// report of the process
console.log(Object.keys(process.report.getReport().header).includes('commandLine'),
        process.config.variables !== undefined);
