#!/usr/bin/env node
// The program `koaws`: runs the command line, and exits with its code.
import { main } from './main.ts'
import { processTerminal } from './terminal.ts'

// The event loop ends by itself: `process.exit()` could cut off output to a pipe.
void main(process.argv.slice(2), processTerminal()).then((code) => {
  process.exitCode = code
})
