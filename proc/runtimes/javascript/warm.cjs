// SPDX-License-Identifier: Apache-2.0
'use strict';

// Loads and compiles, before there is a job, what most programs need. A function of node costs most at its first call:
// so they are called here, with nothing that would be seen.
//
// process.stdin, stdout and stderr are not touched: what they are is found out at their first use.

const fs = require('fs');
const net = require('net');
const util = require('util');

// What process.stdout will be, but for a pipe that takes everything and goes nowhere. What would look at
// process.stderr is left out: that the socket is destroyed, and that its colours are found out.
function writeNowhere() {
        const { Pipe, constants } = process.binding('pipe_wrap');
        const handle = new Pipe(constants.SOCKET);

        handle.writeUtf8String = handle.writeLatin1String = () => 0;

        const socket = new net.Socket({ handle, readable: false, writable: true });
        const nowhere = new console.Console({ stdout: socket, stderr: socket, colorMode: false });

        nowhere.log('%s', 'text', 1, { a: [1, 'b', null], b: new Map([[1, new Date(0)]]) });
        nowhere.error(new Error('none'));
        handle.close();
}

function useModules() {
        for (const name of ['path', 'url', 'module', 'vm', 'os', 'child_process', 'worker_threads', 'fs/promises'])
                require(name);
        new URL('file:///').pathname;
        util.inspect([1, 'a', { b: 2 }]);
        Buffer.from('text').toString('base64');
        fs.existsSync('/');
        clearTimeout(setTimeout(() => {}, 1));
        clearImmediate(setImmediate(() => {}));
        process.nextTick(() => {});
        queueMicrotask(() => {});
}

// Calls @then when all is done, and nothing is left for the event loop to do.
exports.warm = (then) => {
        const done = () => setImmediate(() => setImmediate(then));

        writeNowhere();
        useModules();
        // The loader of ES modules sets itself up at its first use.
        import('data:text/javascript,await 1').then(done, done);
};
