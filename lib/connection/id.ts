// Makes the ids of connections and instances.

import { randomFillSync } from 'node:crypto'

const ID_BYTES = 15
const pool = Buffer.alloc(ID_BYTES * 128)
let used = pool.length

/** 120 random bits in base64url; drawn in bulk. */
export function newId(): string {
  if (used === pool.length) {
    randomFillSync(pool)
    used = 0
  }
  const id = pool.toString('base64url', used, used + ID_BYTES)
  used += ID_BYTES
  return id
}

/** Returns 48 random bits in base64url: the key of a recorded entry. */
export function newKey(): string {
  return newId().slice(0, 8)
}
