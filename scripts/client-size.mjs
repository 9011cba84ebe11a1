// Prints the size of dist/koaws-client.js, and exits with 1 if it exceeds its limit.
import { readFileSync } from 'node:fs'
import { gzipSync } from 'node:zlib'

/** Bytes, gzipped. */
const LIMIT = 6_656

const bundle = readFileSync(new URL('../dist/koaws-client.js', import.meta.url))
const size = gzipSync(bundle, { level: 9 }).length
console.log(`koaws/client: ${size} bytes gzipped, of ${LIMIT} (${bundle.length} minified)`)
if (size > LIMIT) process.exitCode = 1
