// The entries in the log of one request with `retry`, and what they say together.

import type { Entry } from '../../../history/store.ts'
import type { Known } from '../../../retry/store.ts'

/** What an entry records. */
export type Note =
  /** An instance claims the request. Only the first claim of a log counts. */
  | { readonly kind: 'claim'; readonly instance: string; readonly hash: string }
  /** The instance that has claimed the request still runs it. */
  | { readonly kind: 'running'; readonly instance: string; readonly hash: string }
  /** The answer; null if it was not kept. */
  | { readonly kind: 'done'; readonly hash: string; readonly answer: string | null }
  /** The claim in the entry with this key has ended without an answer. */
  | { readonly kind: 'void'; readonly key: string }

const UNKNOWN: Known = Object.freeze({ state: 'unknown' })
const FORM = /^([CRDNV])(?: ([\w-]+))?(?: ([\w-]+))?(?:\n([\s\S]*))?$/

/** Returns a note as the payload of an entry. */
export function payloadOf(note: Note): Buffer {
  return Buffer.from(textOf(note))
}

function textOf(note: Note): string {
  switch (note.kind) {
    case 'claim':
      return `C ${note.hash} ${note.instance}`
    case 'running':
      return `R ${note.hash} ${note.instance}`
    case 'done':
      return note.answer === null ? `N ${note.hash}` : `D ${note.hash}\n${note.answer}`
    case 'void':
      return `V ${note.key}`
  }
}

/** Returns the note in a payload; null for one of other software. */
export function noteOf(payload: Buffer): Note | null {
  const [, kind, hash, instance, answer] = FORM.exec(String(payload)) ?? []
  if (hash === undefined) return null
  if (kind === 'V') return { kind: 'void', key: hash }
  if (kind === 'N') return { kind: 'done', hash, answer: null }
  if (kind === 'D') return answer === undefined ? null : { kind: 'done', hash, answer }
  if (instance === undefined) return null
  return { kind: kind === 'C' ? 'claim' : 'running', instance, hash }
}

/**
 * Returns what the entries of a log say.
 *
 * @param entries all entries that are kept; the first ones may be gone
 * @param isAlive whether an instance has not ended
 */
export function knownOf(entries: readonly Entry[], isAlive: (instance: string) => boolean): Known {
  const notes = entries.map(({ payload }) => noteOf(payload))
  for (const note of notes) {
    if (note?.kind === 'done') return { state: 'done', hash: note.hash, answer: note.answer }
  }
  // A claim that is not the first entry of its log has lost.
  const first = entries[0]?.offset === 1 ? notes[0] : null
  const isVoid = notes.some((note) => note?.kind === 'void' && note.key === entries[0]?.key)
  if (isVoid || notes.includes(null)) return UNKNOWN
  const running = notes.findLast((note) => note?.kind === 'running') ?? first
  if (!running || !('instance' in running) || !isAlive(running.instance)) return UNKNOWN
  return { state: 'running', hash: running.hash }
}
