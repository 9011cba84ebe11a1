/** So many instances know of a user: one acts, and the other stands by for when that one dies. */
const KEEPERS = 2

/**
 * The instances that keep a user, of those that live; the first acts. All instances that know the same
 * others find the same (rendezvous hashing), and when one comes or goes most users keep theirs.
 */
export function keepersOf(user: string, instances: Iterable<string>): string[] {
  const scored = [...instances].map((id) => ({ id, score: hash(`${user}\n${id}`) }))
  scored.sort((a, b) => b.score - a.score || (a.id < b.id ? -1 : 1))
  return scored.slice(0, KEEPERS).map(({ id }) => id)
}

/** FNV-1a, and the last steps of MurmurHash 3, which spread short texts. */
function hash(text: string): number {
  let h = 0x811c9dc5
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193)
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}
