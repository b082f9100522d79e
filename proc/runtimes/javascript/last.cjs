// SPDX-License-Identifier: Apache-2.0
'use strict';

// Finds the last expression of a program, so that its value can be shown. Neither a function nor a module has such a
// value, and so the source is changed: "…; last" becomes "…; const __last_value=last", with the new text at the end of the
// line before, which leaves lines and columns of the expression what they are, and a line after all others takes the
// value. (An error in an initializer is reported where that begins, and one in an assignment where the target is.)
//
// There is no parser here, only the compiler. What comes before the expression must be a program, and the expression
// an expression, each on its own; and the way it begins must be one that never continues what comes before. Where
// there is any doubt, there is no value.

const vm = require('vm');

// Whether a program can be compiled here, and import() as if node had done it.
const CAN_SHIFT = vm.constants?.USE_MAIN_CONTEXT_DEFAULT_LOADER !== undefined;

const NAME = '__last';
const HOLDER = `${NAME}_value`;
const MARK = `const ${HOLDER}=`;
const AFTER = `\n;${NAME}.value=${HOLDER}`;
const PARAMETERS = ['exports', 'require', 'module', '__filename', '__dirname'];
const MAX_SOURCE = 256 * 1024;
const MAX_STARTS = 400;
const MAX_WORK = 2 * 1024 * 1024; // characters that are compiled on the way; then nothing does

// Begin something else than an expression, or may belong to what comes before.
const NO_START = /^(?:function|class|let|const|var|if|else|for|while|do|switch|case|default|try|catch|finally|return|throw|break|continue|import\s*[^(.\s]|export|with|debugger|in|of|instanceof|as|from|enum|using|static|get|set|async\s+function)\b/;
const STARTS = /^[\p{ID_Start}$_'"\d!~([`/+-]/u;
// Continue an expression that seems to be complete.
const NEEDS_SEMICOLON = /^(?:[([`/]|\+(?!\+)|-(?!-))/;
// Are a name when they stand alone, and something else when a name follows.
const OPEN_END = /(?:^|[^\w$.])(?:let|async|await|yield|get|set|static|of|using|type|accessor)\s*$/;

class Finder {
        constructor(source, isModule) {
                this.source = source;
                this.isModule = isModule;
                this.work = 0;
        }

        compiles(text) {
                this.work += text.length;
                if (this.work > MAX_WORK)
                        return false;
                text = text.replace(/^#!/, '//'); // only whole files may begin like that
                try {
                        if (this.isModule)
                                new vm.Script(`"use strict";(async()=>{${plain(text)}\n})`);
                        else
                                vm.compileFunction(text, PARAMETERS);
                        return true;
                } catch {
                        return false;
                }
        }

        // Whether @text is one expression, and no sequence of several.
        isExpression(text) {
                return this.compiles(`(${text}\n);(0?${text}\n:0)`);
        }

        // @tail without the semicolons and comments that end it, if it is an expression.
        isTail(tail) {
                for (let text = tail.trimEnd(); text !== null && text !== ''; text = withoutComment(text)) {
                        for (;;) {
                                if (this.isExpression(text))
                                        return true;
                                if (!text.endsWith(';'))
                                        break;
                                text = text.slice(0, -1).trimEnd();
                        }
                }
                return false;
        }

        isStart(at) {
                const head = this.source.slice(0, at);
                const tail = this.source.slice(at);

                if (!STARTS.test(tail) || NO_START.test(tail))
                        return false;
                if (NEEDS_SEMICOLON.test(tail) && !endsStatement(head))
                        return false;
                // What seems to be a statement may be the end of a comment, which swallows the mark.
                return !OPEN_END.test(head) && this.isTail(tail) && this.compiles(head) && !this.compiles(`${head};${MARK}`);
        }

        // Where the last expression starts, or -1.
        find() {
                let n = 0;

                for (const at of starts(this.source)) {
                        if (n++ > MAX_STARTS || this.work > MAX_WORK)
                                return -1;
                        if (this.isStart(at))
                                return at;
                }
                return -1;
        }

        // Where the mark can be put: at the end of the line before, which may end with a comment.
        place(at) {
                const line = this.source.lastIndexOf('\n', at - 1);

                if (line < 0 || this.source.slice(line, at).trim() !== '')
                        return at;

                const end = this.source[line - 1] === '\r' ? line - 1 : line;
                const start = this.source.lastIndexOf('\n', end - 1) + 1;

                if (start > end)
                        return end;
                for (let cut = end; cut >= start; cut = this.source.lastIndexOf('//', cut - 1)) {
                        const head = this.source.slice(0, cut);

                        // What would be swallowed by a comment does not disturb.
                        if (this.compiles(head) && !this.compiles(`${head};${MARK}`))
                                return cut;
                        if (cut === 0)
                                break;
                }
                return -1;
        }
}

// Statements of modules, for a compiler of functions.
function plain(text) {
        return text
                .replace(/^([ \t]*)import(?:[\w*\s{},$]{1,4000}?from)?\s*(["'])[^"'\n]*\2[^\S\n]*(?:(?:with|assert)\s*\{[^}]{0,400}\})?/gm,
                        (all, indent) => `${indent};${'\n'.repeat(all.split('\n').length - 1)}`)
                .replace(/^([ \t]*)export\s*(?:\{[^}]{0,4000}\}|\*(?:\s*as\s+\w+)?)\s*(?:from\s*(["'])[^"'\n]*\2)?/gm, '$1;')
                .replace(/^([ \t]*)export\s+default\s+(?=(?:async\s+)?function\s*\*?\s*\(|class\s*(?:\{|extends\b))/gm, '$1;void ')
                .replace(/^([ \t]*)export\s+(?:default\s+(?=(?:async\s+)?function|class)|(?=const|let|var|function|class|async))/gm, '$1')
                .replace(/^([ \t]*)export\s+default\s+/gm, '$1;')
                .replace(/\bimport\s*\.\s*meta\b/g, 'import_meta');
}

// Whether a semicolon ends it, and no comment that has one.
function endsStatement(head) {
        if (head.split('\n').every((line) => /^\s*(?:\/\/.*)?$/.test(line)))
                return true;

        const text = head.trimEnd();
        const line = text.slice(text.lastIndexOf('\n') + 1);

        return text.endsWith(';') && !/\/\/|\*\//.test(line);
}

// Without what could be its last comment.
function withoutComment(text) {
        if (text.endsWith('*/')) {
                const at = text.lastIndexOf('/*');

                return at < 0 ? null : text.slice(0, at).trimEnd();
        }

        const at = text.lastIndexOf('//');

        return at < text.lastIndexOf('\n') || at < 0 ? null : text.slice(0, at).trimEnd();
}

// Where statements could start, from the end: at the first character of lines, and after semicolons.
function* starts(source) {
        let end = source.length;

        while (end > 0) {
                const start = source.lastIndexOf('\n', end - 1) + 1;
                const line = source.slice(start, end);

                for (let i = line.lastIndexOf(';'); i >= 0; i = i > 0 ? line.lastIndexOf(';', i - 1) : -1) {
                        const at = i + 1 + line.slice(i + 1).search(/\S|$/);

                        if (at < line.length)
                                yield start + at;
                }
                if (/\S/.test(line))
                        yield start + line.search(/\S/);
                end = start - 1;
        }
}

// The object behind the mark: it is there once, and takes itself away.
function listen(show) {
        const receiver = Object.defineProperty({}, 'value', {
                set(value) {
                        delete globalThis[NAME];
                        // A function without a name was given that of the constant.
                        if (typeof value === 'function' && Object.getOwnPropertyDescriptor(value, 'name')?.value === HOLDER)
                                Object.defineProperty(value, 'name', { value: '' });
                        show(value);
                },
        });

        Object.defineProperty(globalThis, NAME, { value: receiver, configurable: true });
}

// Returns the source such that the value of its last expression is given to @show, null if it has none. When isFirst is
// set, the mark is a line of its own before all others.
exports.markLast = (source, isModule, show) => {
        if (source.length > MAX_SOURCE || source.includes(NAME))
                return null;

        const finder = new Finder(source, isModule);
        const at = finder.find();
        const place = at < 0 ? -1 : finder.place(at);

        if (place < 0)
                return null;

        // import() would be an experiment there, and node says so.
        const isFirst = !isModule && CAN_SHIFT && place === 0 && !source.includes('import');
        const semicolon = source.slice(0, place).trim() === '' ? '' : ';';
        const marked = `${source.slice(0, place)}${semicolon}${MARK}${isFirst ? '\n' : ''}${source.slice(place)}${AFTER}`;

        if (!finder.compiles(marked))
                return null;
        listen(show);
        return { source: marked, isFirst };
};
exports.markLast.NAME = NAME;
