// SPDX-License-Identifier: Apache-2.0
'use strict';

// node driver.cjs SCRIPT: runs SCRIPT as if it were the file main.js of the working directory.
//
// The code lies in a private directory, but what it imports lies where the user works. As a CommonJS module it
// is compiled under the other name, and node does the rest: require(), import(), __dirname and stack traces.
//
// What only makes sense as an ES module (import, export, top-level await) cannot be given a place to import
// from. So a copy is put into the working directory; its last import is one of ours, which removes the copy:
// imports are carried out when all files have been read, and before the module's own first line.

const fs = require('fs');
const path = require('path');
const Module = require('module');

const cwd = process.cwd();
const filename = path.join(cwd, 'main.js');
const source = fs.readFileSync(process.argv[2], 'utf8').replace(/^\uFEFF/, '').replace(/^#!/, '//');

// What the compiler says about ES modules, across its versions.
const MODULE_ERRORS = [
        'Cannot use import statement outside a module',
        "Unexpected token 'export'",
        "Cannot use 'import.meta' outside a module",
        'await is only valid in async functions and the top level bodies of modules',
];

function compileError(text) {
        try {
                require('vm').compileFunction(text, ['exports', 'require', 'module', '__filename', '__dirname'], { filename });
                return null;
        } catch (error) {
                return error;
        }
}

function isModule() {
        // Most programs can do without being compiled twice.
        if (!/\b(?:import|export|await)\b/.test(source))
                return false;

        const error = compileError(source);

        if (!error)
                return false;
        if (MODULE_ERRORS.some((text) => error.message.includes(text)))
                return true;
        // Outside of a module "await" is a name, and the complaint is about what follows it.
        return /\bawait\b/.test(source) && !compileError(`(async () => {${source}\n})`);
}

// Uncaught errors show the user's frames; what called them is no part of their program.
function hideDriver() {
        process.on('uncaughtExceptionMonitor', (error) => {
                if (!(error instanceof Error) || typeof error.stack !== 'string')
                        return;
                const lines = error.stack.split('\n');
                let n = lines.findIndex((line) => /^\s+at /.test(line) && line.includes(__filename));

                if (n < 0)
                        return;
                while (/^\s+at .*node:internal\/modules\//.test(lines[n - 1]) && /^\s+at /.test(lines[n - 2]))
                        n--;
                try {
                        error.stack = lines.slice(0, n).join('\n');
                } catch {
                        // frozen: shown as it is
                }
        });
}

function runCommonJS() {
        const module = new Module('.', null);

        module.filename = filename;
        module.paths = Module._nodeModulePaths(cwd);
        process.mainModule = module;
        module._compile(source, filename);
        module.loaded = true;
}

function runModule() {
        const name = `.main-${process.pid}.mjs`;
        const loaded = Symbol.for('vm-agent.loaded');
        const text = `${source}\nimport "data:text/javascript,globalThis[Symbol.for('vm-agent.loaded')]()";\n`;
        let copy = path.join(cwd, name);

        const remove = () => fs.rmSync(copy, { force: true });

        try {
                fs.writeFileSync(copy, text, { mode: 0o600, flag: 'wx' });
        } catch {
                // Nothing can be written there. Then imports by relative path fail, but all others work.
                copy = path.join(path.dirname(process.argv[2]), name);
                fs.writeFileSync(copy, text);
        }
        globalThis[loaded] = () => {
                delete globalThis[loaded];
                remove();
        };
        process.on('exit', remove); // it may never be loaded
        // People mix both worlds, above all with top-level await.
        globalThis.require = Module.createRequire(filename);
        process.argv.splice(1, 2, copy);
        import(require('url').pathToFileURL(copy).href);
}

hideDriver();
if (isModule()) {
        runModule();
} else {
        process.argv.splice(1, 2, filename);
        runCommonJS();
}
