// SPDX-License-Identifier: Apache-2.0
'use strict';

// Programs start themselves again: as threads (new Worker(__filename)) and as processes (fork(__filename), cluster). The
// file that they name does not exist. So those load this file before anything else, which shows them the source, as the
// driver has done it here.

const fs = require('fs');
const path = require('path');
const { fileURLToPath } = require('url');

const NAME = 'VM_AGENT_MAIN'; // of an environment variable for processes, of environment data for threads
const OPTIONS = ['--require', __filename];

// @options has file, args, cwd and envPairs, what a child is started with. Returns others if it is the program again.
function adapt(options, main) {
        const { file, args } = options;

        if (typeof file !== 'string' || !Array.isArray(args))
                return options;

        const at = args.findIndex((arg, i) => i > 0 && !arg.startsWith('-'));

        if (at < 0 || path.basename(file) !== path.basename(process.execPath) ||
            path.resolve(options.cwd || '.', args[at]) !== main.shown || fs.existsSync(main.shown))
                return options;
        return {
                ...options,
                args: [args[0], ...OPTIONS, ...args.slice(1)],
                envPairs: [...options.envPairs || [], `${NAME}=${main.script}`],
        };
}

// What the binding is called with: an object, or its members in this order.
function adaptCall(call, main) {
        if (typeof call[0] === 'object')
                return [adapt(call[0], main), ...call.slice(1)];

        const [file, args, cwd, envPairs, ...rest] = call;
        const adapted = adapt({ file, args, cwd, envPairs }, main);

        return [file, adapted.args, cwd, adapted.envPairs, ...rest];
}

// In the bindings, below all that could be seen.
function installProcesses(main) {
        const { Process } = process.binding('process_wrap');
        const sync = process.binding('spawn_sync');
        const { spawn } = Process.prototype;
        const { spawn: spawnSync } = sync;

        Process.prototype.spawn = function (...call) {
                return Reflect.apply(spawn, this, adaptCall(call, main));
        };
        sync.spawn = (...call) => Reflect.apply(spawnSync, sync, adaptCall(call, main));
}

function isMain(file, options, main) {
        if (options?.eval)
                return false;
        if (file instanceof URL)
                return file.protocol === 'file:' && fileURLToPath(file) === main.shown;
        return typeof file === 'string' && path.resolve(file) === main.shown;
}

function installThreads(main) {
        const threads = require('worker_threads');
        const { Worker } = threads;

        threads.setEnvironmentData(NAME, main);
        threads.Worker = new Proxy(Worker, {
                construct(target, [file, options, ...rest], newTarget) {
                        if (isMain(file, options, main) && !fs.existsSync(main.shown))
                                options = { ...options, execArgv: [...options?.execArgv || [], ...OPTIONS] };
                        return Reflect.construct(target, [file, options, ...rest], newTarget);
                },
        });
        require('module').syncBuiltinESMExports();
}

// @main: { shown, script }, the name of the program and where it really lies.
exports.install = (main, source) => {
        installProcesses(main);
        // It costs to load what most programs do not use.
        if (/\bworker_threads\b/.test(source))
                installThreads(main);
};

// Loaded by a process or a thread that is the program once more.
function become() {
        const threads = require('worker_threads');
        const program = require('./program.cjs');
        const main = threads.isMainThread ? { shown: process.argv[1], script: process.env[NAME] }
                : threads.getEnvironmentData(NAME);

        if (threads.isMainThread)
                delete process.env[NAME];
        process.execArgv = process.execArgv.filter((arg) => !OPTIONS.includes(arg));
        program.show(fs.readFileSync(main.script, 'utf8'), main);
}

if (module.parent?.id === 'internal/preload')
        become();
