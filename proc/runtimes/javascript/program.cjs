// SPDX-License-Identifier: Apache-2.0
'use strict';

// A program is to find itself in the file main.js of the working directory, but its source lies in a private one:
// many may run at the same time, and the workspace may have a main.js of its own. So node's own start of a program
// (Module.runMain) is carried out with that name, and for as long as it looks for the file it is shown one:
//
//  - Module._findPath finds it, and lstat tells it apart from a link;
//  - fs.readFileSync gives the source to the loader of CommonJS, fs.promises.readFile to that of ES modules;
//  - an ES module must exist before it is read, and there is no asking of JavaScript. So entry.mjs is looked for,
//    which exists, and seems to be a link to main.js.
//
// Each of these is put back before the first line of the program runs. Nothing of us is below it on the stack, either:
// it is called from the closing of a handle, at the end of a turn of the event loop, which is followed by what follows
// the start of a program. What calls it bears the name and the position of what calls it in node.

const fs = require('fs');
const Module = require('module');
const path = require('path');
const { pathToFileURL } = require('url');
const vm = require('vm');

const again = require('./again.cjs');
const { endQuickly } = require('./end.cjs');
const frames = require('./frames.cjs');

const PARAMETERS = ['exports', 'require', 'module', '__filename', '__dirname'];
const GIVEN = Symbol.for('vm-agent.given');
const ENTRY = path.join(__dirname, 'entry.mjs');

// What the compiler says about ES modules, across its versions.
const MODULE_ERRORS = [
        'Cannot use import statement outside a module',
        "Unexpected token 'export'",
        "Cannot use 'import.meta' outside a module",
];

function compileError(text) {
        try {
                vm.compileFunction(text.replace(/^#!/, '//'), PARAMETERS);
                return null;
        } catch (error) {
                return error;
        }
}

function looksLikeModule(source) {
        // Most programs can do without being compiled twice.
        if (!/\b(?:import|export|await)\b/.test(source))
                return false;

        const error = compileError(source);

        if (!error)
                return false;
        if (MODULE_ERRORS.some((text) => error.message.includes(text)))
                return true;
        // Outside of a module "await" is a name, and the complaint may be about what follows it.
        return /\bawait\b/.test(source) && !compileError(`(async () => {${source.replace(/^#!/, '//')}\n})`);
}

// The "type" of the package that the directory belongs to.
function packageType(directory) {
        for (let parent = directory; ; parent = path.dirname(parent)) {
                try {
                        return JSON.parse(fs.readFileSync(path.join(parent, 'package.json'), 'utf8')).type;
                } catch (error) {
                        if (error.code === undefined)
                                return undefined; // no JSON: node complains, in its own words
                }
                if (path.dirname(parent) === parent || path.basename(parent) === 'node_modules')
                        return undefined;
        }
}

function isModule(source, directory) {
        const type = packageType(directory);

        return type === 'module' || (type !== 'commonjs' && looksLikeModule(source));
}

// Replaces properties of objects; returns what puts them back.
function replace(replacements) {
        const before = replacements.map(([object, name]) => Object.getOwnPropertyDescriptor(object, name));

        for (const [i, [object, name, value]] of replacements.entries())
                Object.defineProperty(object, name, { ...before[i], value });
        return () => {
                for (const [i, [object, name]] of replacements.entries())
                        Object.defineProperty(object, name, before[i]);
        };
}

// The result of lstat for @like, as the loader wants it, with the type of a file or of a link.
function typed(stats, type) {
        const result = stats.slice();
        const MODE = 1;
        const MASK = fs.constants.S_IFMT;

        result[MODE] = typeof stats[MODE] === 'bigint'
                ? (stats[MODE] & ~BigInt(MASK)) | BigInt(type) : (stats[MODE] & ~MASK) | type;
        return result;
}

// The way in for ES modules that newer versions of node have.
function hookModule(source, shown) {
        const url = pathToFileURL(shown).href;
        const entry = pathToFileURL(ENTRY).href;

        const hooks = Module.registerHooks({
                resolve: (name, context, next) => (name === entry ? { url, format: 'module', shortCircuit: true }
                        : next(name, context)),
                load: (name, context, next) => {
                        if (name !== url)
                                return next(name, context);
                        hooks.deregister();
                        return { source, format: 'module', shortCircuit: true };
                },
        });
}

// Lets node's loaders find @source under the name @shown, once. Returns what ends it before.
function pretend(source, entry, shown) {
        const binding = process.binding('fs');
        const { lstat, readlink } = binding;
        const { readFileSync, realpathSync } = fs;
        const { readFile } = fs.promises;
        const { _findPath } = Module;
        const url = pathToFileURL(shown).href;

        if (entry === ENTRY && Module.registerHooks)
                hookModule(source, shown);

        const restore = replace([
                [Module, '_findPath', function (request, ...rest) {
                        if (request !== shown)
                                return Reflect.apply(_findPath, this, [request, ...rest]);
                        if (entry === shown)
                                Module._pathCache[`${shown}\0`] = shown;
                        return entry;
                }],
                [binding, 'lstat', (file, ...rest) => {
                        if (file === shown)
                                return typed(lstat(ENTRY, ...rest), fs.constants.S_IFREG);
                        if (file === ENTRY)
                                return typed(lstat(ENTRY, ...rest), fs.constants.S_IFLNK);
                        return lstat(file, ...rest);
                }],
                // Module.runMain asks, and is to believe it; the loader of ES modules, which asks next, is not.
                [fs, 'realpathSync', (file, ...rest) => {
                        fs.realpathSync = realpathSync;
                        return file === ENTRY ? ENTRY : realpathSync(file, ...rest);
                }],
                [binding, 'readlink', (file, ...rest) => (file === ENTRY ? shown : readlink(file, ...rest))],
                [fs, 'readFileSync', (file, ...rest) => {
                        if (file !== shown)
                                return readFileSync(file, ...rest);
                        restore();
                        return source;
                }],
                [fs.promises, 'readFile', async (file, ...rest) => {
                        if (String(file) !== url)
                                return readFile(file, ...rest);
                        restore();
                        return Buffer.from(source);
                }],
        ]);
        return restore;
}

// Calls @call from the event loop, with nothing else on the stack.
function callFromLoop(call) {
        const { Pipe, constants } = process.binding('pipe_wrap');

        new Pipe(constants.SOCKET).close(call);
}

// What node's compiler notes down, before and after.
function setExecuting(module, value) {
        const symbol = Object.getOwnPropertySymbols(module).find(({ description }) => description === 'kIsExecuting');

        if (symbol)
                module[symbol] = value;
}

// When the mark is the first thing of the source, it has a line of its own, which is not counted. So far away from what
// node's compiler of modules does is only how @source is compiled: that is done here, and what it is called with comes
// from node.
function compileOneLineUp(source, shown) {
        const { _compile } = Module.prototype;

        const prepare = (module) => {
                let given;

                restore();
                globalThis[GIVEN] = (...rest) => {
                        given = rest;
                };
                Reflect.apply(_compile, module, [`globalThis[Symbol.for('${GIVEN.description}')](...arguments)`, shown]);
                delete globalThis[GIVEN];
                setExecuting(module, true);

                const call = vm.compileFunction(source, PARAMETERS, {
                        filename: shown,
                        lineOffset: -1,
                        importModuleDynamically: vm.constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
                });

                return [call, ...given];
        };
        const restore = replace([[Module.prototype, '_compile', frames.makeCompile(prepare, Reflect.apply, setExecuting)]]);
}

// Node that tells ES modules from others by what is in them. To older versions they must have the name of one.
function shownModule(shown) {
        return process.features.require_module ? shown : shown.replace(/js$/, 'mjs');
}

// Lets the program find @source, and what it starts again as well. Returns the name that it has.
function show(source, main, asModule) {
        const shown = asModule ? shownModule(main.shown) : main.shown;

        again.install({ ...main, shown }, source);
        forget();
        pretend(source, asModule ? ENTRY : shown, shown);
        return shown;
}

// What programs can see of the modules that are loaded: none is ours.
function forget() {
        for (const cache of [Module._cache, Module._pathCache])
                for (const key of Object.keys(cache))
                        if (key.startsWith(__dirname) || String(cache[key]).startsWith(__dirname))
                                delete cache[key];
}

// For a process or a thread that node itself is about to start with the name main.shown.
exports.show = (source, main) => {
        show(source, main, isModule(source, path.dirname(main.shown)));
};

// Runs @source, which lies in main.script, as the file main.shown. With @rich what it shows is sent there.
exports.run = (source, main, rich) => {
        const asModule = isModule(source, path.dirname(main.shown));
        const marked = rich && rich.prepare(source, asModule);

        if (marked && marked.isFirst)
                compileOneLineUp(marked.source, main.shown);
        else if (marked)
                source = marked.source;
        process.mainModule = undefined;
        // People mix both worlds, above all with top-level await.
        if (asModule)
                Object.defineProperty(globalThis, 'require',
                        { value: Module.createRequire(main.shown), writable: true, configurable: true });
        endQuickly();
        process.argv[1] = show(source, main, asModule);
        callFromLoop(frames.callMain.bind(undefined, Module, process.argv[1]));
};

// Loads and compiles what a program will need, then calls @then.
exports.warm = (rich, then) => {
        isModule('import("fs"); export default await 1;', '/');
        pretend('', __filename, __filename)();
        if (rich)
                rich.warm();
        require('./warm.cjs').warm(then);
};
