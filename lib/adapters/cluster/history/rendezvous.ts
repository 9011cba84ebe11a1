// Rendezvous hashing: all instances choose the same instances for a log, without a table.

/** Returns ids in the order in which they are chosen for a log. */
export function rank(log: string, ids: Iterable<string>): string[] {
  const seed = hash(log, 0x811c9dc5)
  return [...ids]
    .map((id) => ({ id, score: mix(hash(id, seed)) }))
    .sort((a, b) => b.score - a.score || (a.id < b.id ? -1 : 1))
    .map(({ id }) => id)
}

/** FNV-1a over the UTF-16 code units. */
function hash(text: string, seed: number): number {
  let value = seed
  for (let at = 0; at < text.length; at++) {
    value = Math.imul(value ^ text.charCodeAt(at), 0x01000193)
  }
  return value
}

/** FNV-1a alone ranks ids alike that differ in the last character only: the finalizer of MurmurHash3. */
function mix(value: number): number {
  let mixed = Math.imul(value ^ (value >>> 16), 0x85ebca6b)
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35)
  return (mixed ^ (mixed >>> 16)) >>> 0
}
