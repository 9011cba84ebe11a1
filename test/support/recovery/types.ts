/**
 * A place in the record of a room. An epoch is a time here, and a key a number. At offset 0 the key is
 * 0, and -1 in a room that does not exist.
 */
export interface At {
  readonly epoch: number
  readonly offset: number
  readonly key: number
}

/** A message of the application, to one room or two. */
export interface Said {
  readonly id: number
  readonly rooms: readonly string[]
  /** The connection that does not get it, or 0. */
  readonly except: number
  readonly author: number | undefined
}

/** Messages of one turn, as they were recorded in one room. The offset is that of the last one. */
export interface Recorded extends At {
  readonly room: string
  /** The key of the entry before it. */
  readonly previous: number
  readonly said: readonly Said[]
}

/** One message of an entry. */
export interface Message extends At {
  readonly previous: number
  readonly said: Said
}

/** Returns the messages of an entry, each at its own place. */
export function messagesOf(entry: Recorded): Message[] {
  const { epoch, key, said } = entry
  const before = entry.offset - said.length
  return said.map((one, i) => {
    const previous = i === 0 ? entry.previous : key
    return { epoch, offset: before + 1 + i, key, previous, said: one }
  })
}

/** Returns whether a place was given while its room did not exist. */
export function isUnborn({ offset, key }: At): boolean {
  return offset === 0 && key === -1
}

/** Returns the key at an offset of a record that ends at `top`; undefined for an offset that is not kept. */
export function keyAt(entries: readonly Recorded[], top: At, offset: number): number | undefined {
  if (offset === top.offset) return Math.max(top.key, 0)
  const index = entries.findIndex((entry) => entry.offset >= offset)
  const entry = entries[index]
  if (!entry) return undefined
  if (offset > entry.offset - entry.said.length) return entry.key
  return offset === entry.offset - entry.said.length ? entry.previous : undefined
}

/** Returns the entries that go beyond an offset. */
export function beyond(entries: readonly Recorded[], offset: number): Recorded[] {
  return entries.filter((entry) => entry.offset > offset)
}

export type Reason = 'trimmed' | 'epoch' | 'ahead' | 'slow'

export type Answer =
  | { readonly top: At; readonly entries: readonly Recorded[] }
  | { readonly top: At; readonly missing: 'trimmed' | 'epoch' | 'ahead' }

/** A message to a client (`docs/protocol.md`). */
export type ToClient = { readonly room: string } & (
  | { readonly type: 'position'; readonly at: At }
  | { readonly type: 'recovered'; readonly at: At; readonly missed: number }
  | { readonly type: 'refused'; readonly at: At; readonly reason: Reason }
  | { readonly type: 'push'; readonly at: At; readonly said: Said }
  | { readonly type: 'at'; readonly at: At }
  | { readonly type: 'left' }
)

/** Wrong variants of the protocol, which the model must find. */
export const FLAWS = [
  /** A member is live before its replay has ended. */
  'live early',
  /** An instance says `ahead` by its own top, which may be behind that of the store. */
  'ahead by own top',
  /** A follower takes an entry after a hole, and does not read the entries in the hole. */
  'holes stay',
  /** Store, instances and clients go by offsets alone. */
  'no keys',
  /** The client delivers a message to several rooms once for each. */
  'no once',
  /** The client forgets the ids that it has delivered when it joins a room. */
  'once forgotten',
  /** The client remembers the last two of these ids. */
  'short memory',
  /** The client reads what its old socket still receives. */
  'old socket',
  /** A position that was presented is used again for a second join. */
  'used twice',
  /** A member is not told the position of a message that it does not get. */
  'no mark',
  /** Instances never look at the top of the store. */
  'no look',
  /** A member that stands in the middle of an entry gets the next one first. */
  'entry skipped',
  /** A renewed epoch counts as the first one for a place from before the room existed. */
  'renewed as new',
  /** An instance that sees a fork goes on, and tells no client. */
  'fork ignored',
] as const

export type Flaw = (typeof FLAWS)[number]
