// SPDX-License-Identifier: Apache-2.0
// Never run: the file in whose place program.cjs gives node an ES module that exists nowhere.
