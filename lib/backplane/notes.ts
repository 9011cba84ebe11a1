// The notes between backplanes: peers that are heard, and requests for positions.
import { type Fields, hasFields, isIntegerWithin } from '../fields.ts'
import { Garbage, parseJson } from './bytes.ts'
import type { Message } from './wire.ts'

/** A peer, as one instance hears it. */
export interface HeardPeer {
  readonly id: string
  /** The number of the last beat received from it. */
  readonly number: number
  /** The time since anything was received from it, in milliseconds. */
  readonly silent: number
}

/**
 * A note from one backplane to another. Notes extend the wire format beyond its kinds of messages.
 */
export type BackplaneNote =
  /**
   * The peers that this instance hears, in the order of their ids. With many peers, each note
   * covers one range of ids: after `after`, up to and including `until`. An empty `until` covers
   * the rest. `left` has the latest that are gone; earlier versions do not send it.
   */
  | {
      readonly type: 'heard'
      readonly after: string
      readonly until: string
      readonly peers: readonly HeardPeer[]
      readonly left: readonly HeardPeer[]
    }
  /** Asks for the tops of these topics. The last note of a request has `last`. */
  | {
      readonly type: 'ask'
      readonly number: number
      readonly topics: readonly string[]
      readonly last: boolean
    }
  /** Answers the request with this number completely. `forgotten` comes from `Tops.forgotten()`. */
  | { readonly type: 'told'; readonly number: number; readonly forgotten: number | undefined }

export type HeardNote = Extract<BackplaneNote, { type: 'heard' }>

const PREFIX = '{"backplane":'

/**
 * Encodes a note. Notes are the extensible part of the wire: a note of an unknown type is ignored.
 */
export function noteOf(note: BackplaneNote): Message {
  const body =
    note.type === 'heard'
      ? {
          ...note,
          peers: note.peers.map(triple),
          left: note.left.length > 0 ? note.left.map(triple) : undefined,
        }
      : note
  return { kind: 'note', text: JSON.stringify({ backplane: body }) }
}

/**
 * Decodes a note.
 *
 * @returns null for a note that does not concern the backplane
 * @throws Garbage for a malformed note of the backplane
 */
export function readNote(text: string): BackplaneNote | null {
  if (!text.startsWith(PREFIX)) return null
  const { type, ...rest } = fieldsOfNote(fieldsOfNote(parseJson(text))['backplane'])
  switch (type) {
    case 'heard':
      return {
        type,
        after: stringOf(rest['after']),
        until: stringOf(rest['until']),
        peers: listOf(rest['peers']).map(peerOf),
        left: listOf(rest['left'] ?? []).map(peerOf),
      }
    case 'ask':
      return {
        type,
        number: integerOf(rest['number']),
        topics: listOf(rest['topics']).map(stringOf),
        last: rest['last'] === true,
      }
    case 'told': {
      const { forgotten } = rest
      return {
        type,
        number: integerOf(rest['number']),
        forgotten: forgotten === undefined ? undefined : integerOf(forgotten),
      }
    }
    default:
      return null // of a later version
  }
}

function triple({ id, number, silent }: HeardPeer): unknown[] {
  return [id, number, silent]
}

function peerOf(value: unknown): HeardPeer {
  const [id, number, silent] = listOf(value)
  return { id: stringOf(id), number: integerOf(number), silent: integerOf(silent) }
}

function fieldsOfNote(value: unknown): Fields {
  if (!hasFields(value)) throw new Garbage('a note is not an object')
  return value
}

function listOf(value: unknown): unknown[] {
  if (!Array.isArray(value)) throw new Garbage('a note lacks a list')
  return value
}

function stringOf(value: unknown): string {
  if (typeof value !== 'string') throw new Garbage('a note lacks a string')
  return value
}

function integerOf(value: unknown): number {
  if (!isIntegerWithin(value, 0, Number.MAX_SAFE_INTEGER)) {
    throw new Garbage('a note lacks an integer')
  }
  return value
}
