// SPDX-License-Identifier: Apache-2.0
'use strict';

// A program that is over frees what it has, which takes node longer than many programs run; the kernel does it better.
// So a program that comes to its end by itself, has not failed, and has no listener of "exit", is ended as by
// process.exit(). That it is so far is seen by process.emit being looked up.

const { emit } = process;

exports.endQuickly = () => {
        Object.defineProperty(process, 'emit', {
                configurable: true,
                enumerable: false,
                get() {
                        if (process._exiting) {
                                // Once: a listener may remove itself, and then lead to another look.
                                delete process.emit;
                                // An uncaught error has set the exit code before.
                                if (!process.exitCode && !process._events.exit)
                                        process.reallyExit(0);
                        }
                        return emit;
                },
                set(value) {
                        Object.defineProperty(process, 'emit',
                                { value, writable: true, configurable: true, enumerable: true });
                },
        });
};
