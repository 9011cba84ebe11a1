// Prints how large dist/koaws-client.js is, and exits with 1 when it is larger than it may be.
import { readFileSync } from 'node:fs'
import { gzipSync } from 'node:zlib'

/** Bytes, gzipped. */
const LIMIT = 5 * 1024

const bundle = readFileSync(new URL('../dist/koaws-client.js', import.meta.url))
const size = gzipSync(bundle, { level: 9 }).length
console.log(`koaws/client: ${size} bytes gzipped, of ${LIMIT} (${bundle.length} minified)`)
if (size > LIMIT) process.exitCode = 1
