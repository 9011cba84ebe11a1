// Makes the ids of connections and instances.

import { randomFillSync } from 'node:crypto'

const ID_BYTES = 15
const KEY_BYTES = 6
const pool = Buffer.alloc(ID_BYTES * 128)
let used = pool.length

/** 120 random bits in base64url; drawn in bulk. */
export function newId(): string {
  return draw(ID_BYTES)
}

/** Returns 48 random bits in base64url: the key of a recorded entry. */
export function newKey(): string {
  return draw(KEY_BYTES)
}

function draw(bytes: number): string {
  if (used + bytes > pool.length) {
    randomFillSync(pool)
    used = 0
  }
  const start = used
  used += bytes
  return pool.toString('base64url', start, used)
}
