// Prints the sizes of the client's files for pages, and exits with 1 if one exceeds its limit.
import { readFileSync } from 'node:fs'
import { gzipSync } from 'node:zlib'

/** Bytes, gzipped. A page loads the part for streams with its first stream. */
const LIMITS = { 'koaws-client.js': 7_168, 'koaws-client-streams.js': 2_176 }

for (const [name, limit] of Object.entries(LIMITS)) {
  const bundle = readFileSync(new URL(`../dist/${name}`, import.meta.url))
  const size = gzipSync(bundle, { level: 9 }).length
  console.log(`${name}: ${size} bytes gzipped, of ${limit} (${bundle.length} minified)`)
  if (size > limit) process.exitCode = 1
}
