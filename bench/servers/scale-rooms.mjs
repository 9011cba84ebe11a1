/** What all servers of scale.mjs send, and where each client is. */
export const TEXT = 'the same text for every message, repeated '.repeat(3).slice(0, 100)

/** Client number n is in a room of its own, in one of 100 and in one of 10,000. */
export function roomsOf(text) {
  const n = Number(text)
  return [`1:${n}`, `100:${Math.floor(n / 100)}`, `10000:${Math.floor(n / 10_000)}`]
}
