// Chooses the instances that track whether a user is online.

/** Number of keepers per user: the first calls the hooks, the second replaces it when it dies. */
const KEEPERS = 2

/**
 * Returns the live instances that keep a user; the first calls the hooks. Instances that know the
 * same peers compute the same keepers (rendezvous hashing). When an instance joins or leaves, most
 * users keep theirs.
 */
export function keepersOf(user: string, instances: Iterable<string>): string[] {
  const scored = [...instances].map((id) => ({ id, score: hash(`${user}\n${id}`) }))
  scored.sort((a, b) => b.score - a.score || (a.id < b.id ? -1 : 1))
  return scored.slice(0, KEEPERS).map(({ id }) => id)
}

/** Hashes with FNV-1a and the finalizer of MurmurHash 3, which spreads short texts. */
function hash(text: string): number {
  let h = 0x811c9dc5
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193)
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}
