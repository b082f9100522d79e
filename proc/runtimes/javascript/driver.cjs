// SPDX-License-Identifier: Apache-2.0
'use strict';

// node driver.cjs [--rich=4] SCRIPT          runs SCRIPT as if it were the file main.js of the working directory
// node driver.cjs --wait=5 [--rich=4]        waits for a job, and then does the same
//
// proc/driver_protocol.h says what the options and the descriptors are.

const fs = require('fs');
const path = require('path');

const EXIT_NOT_STARTED = 126;

function readOptions(args) {
        const options = { rich: -1, wait: -1, script: null };

        for (const arg of args) {
                const [, name, fd] = /^--(rich|wait)=(\d+)$/.exec(arg) || [];

                if (name)
                        options[name] = Number(fd);
                else
                        options.script = arg;
        }
        return options;
}

function start(script, program, rich) {
        const shown = path.join(process.cwd(), 'main.js');

        process.argv.splice(1, process.argv.length, shown);
        program.run(fs.readFileSync(script, 'utf8'), { script: path.resolve(script), shown }, rich);
}

function main() {
        const options = readOptions(process.argv.slice(2));
        const program = require('./program.cjs');
        const rich = options.rich >= 0 ? require('./rich.cjs').open(options.rich) : null;

        if (options.wait < 0) {
                start(options.script, program, rich);
                return;
        }

        const job = require('./job.cjs');

        program.warm(rich, () => start(job.take(options.wait, EXIT_NOT_STARTED), program, rich));
}

main();
