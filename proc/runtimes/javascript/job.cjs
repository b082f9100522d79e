// SPDX-License-Identifier: Apache-2.0
'use strict';

// The job of a process that waits: what it is to run, where, and with what environment.

const fs = require('fs');
const os = require('os');

const SPAWN_CWD = 1; // enum spawn_stage in proc/spawn.h
const SIZE = 4;

// Blocks until there are @size bytes; null when the socket ended before. There is no event loop while it waits,
// and so nothing that would cost anything.
function readExactly(fd, size) {
        const bytes = Buffer.alloc(size);
        let got = 0;

        while (got < size) {
                let n;

                try {
                        n = fs.readSync(fd, bytes, got, size - got, null);
                } catch (error) {
                        if (error.code === 'EINTR')
                                continue;
                        return null;
                }
                if (n === 0)
                        return null;
                got += n;
        }
        return bytes;
}

const isLittleEndian = os.endianness() === 'LE';

function readJob(fd) {
        const head = readExactly(fd, SIZE);
        const size = head && (isLittleEndian ? head.readUInt32LE() : head.readUInt32BE());
        const body = head && readExactly(fd, size);

        if (!body)
                return null;

        const [directory, script, stdin, ...environment] = body.toString('utf8').split('\0').slice(0, -1);

        return { directory, script, stdin, environment };
}

function tellFailure(fd, error) {
        const failure = Buffer.alloc(2 * SIZE);

        for (const [i, value] of [SPAWN_CWD, Math.abs(error.errno) || os.constants.errno.EIO].entries()) {
                if (isLittleEndian)
                        failure.writeInt32LE(value, i * SIZE);
                else
                        failure.writeInt32BE(value, i * SIZE);
        }
        try {
                fs.writeSync(fd, failure);
        } catch {
                // then nobody wants to know
        }
}

function setEnvironment(entries) {
        const wanted = new Map();

        for (const entry of entries) {
                const end = entry.indexOf('=');

                if (end > 0)
                        wanted.set(entry.slice(0, end), entry.slice(end + 1));
        }
        for (const name of Object.keys(process.env))
                if (!wanted.has(name))
                        delete process.env[name];
        for (const [name, value] of wanted)
                if (process.env[name] !== value)
                        process.env[name] = value;
        // NODE_PATH was looked at when the process started.
        require('module')._initPaths();
}

// Waits on the job socket @fd, becomes what the job says, and returns the path of the script. Ends the process if
// there will be none, or with @exitNotStarted if the directory cannot be entered.
exports.take = (fd, exitNotStarted) => {
        const job = readJob(fd);

        if (!job)
                process.reallyExit(0);
        try {
                process.chdir(job.directory);
        } catch (error) {
                tellFailure(fd, error);
                process.reallyExit(exitNotStarted);
        }
        setEnvironment(job.environment);
        if (job.stdin === 'null') {
                fs.closeSync(0);
                fs.openSync('/dev/null', 'r+');
        }
        fs.closeSync(fd);
        return job.script;
};
