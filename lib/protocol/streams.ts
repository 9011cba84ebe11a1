// Encodes the messages of streams: docs/protocol.md, section 3.8.
import type { Envelope, ErrorBody } from './envelope.ts'

/**
 * The most bytes of items that may be on their way to a client. With an item of up to 15,360 bytes beyond it, and
 * 1,024 bytes for its entry, a stream holds at most 256 KiB.
 */
export const MAX_CREDIT = 245_760

/** The types of the messages that end a request. */
export type AnswerType = 'koaws:reply' | 'koaws:error'

/** The answer that ends a stream: the type of its message, and the reply or the error as JSON. */
export interface StreamAnswer {
  readonly type: AnswerType
  readonly json: string
}

/** Returns the answer with an error. */
export function errorAnswer(body: ErrorBody): StreamAnswer {
  return { type: 'koaws:error', json: JSON.stringify(body) }
}

/** Returns the text of an answer. */
export function answerText(id: number, { type, json }: StreamAnswer): string {
  return `{"type":"${type}","id":${id},"${type === 'koaws:reply' ? 'data' : 'error'}":${json}}`
}

/** Returns the text of an item with data that are JSON already. */
export function itemText(id: number, json: string): string {
  return `{"type":"koaws:item","id":${id},"data":${json}}`
}

/** Returns the size of the message of an item, in bytes of UTF-8. */
export function itemSize(id: number, json: string): number {
  return Buffer.byteLength(json) + OVERHEAD + String(id).length
}

const OVERHEAD = itemText(1, '').length - 1

/** Returns the text that grants credit to a client. */
export function creditText(id: number, bytes: number): string {
  return `{"type":"koaws:credit","id":${id},"data":{"bytes":${bytes}}}`
}

/** Returns the text that stops the items of a client. */
export function cancelText(id: number): string {
  return `{"type":"koaws:cancel","id":${id}}`
}

/** A request that asks for streams. */
export interface StreamedEnvelope extends Envelope {
  readonly id: number
}

/** Returns whether a message is a request with a stream. */
export function isStreamed(envelope: Envelope): envelope is StreamedEnvelope {
  const { id, credit, upload } = envelope
  return id !== undefined && (credit !== undefined || upload === true)
}

/** Whether a request was sent before: its stream goes on, if it has begun. */
export function isResuming({ key, since, again }: StreamedEnvelope): boolean {
  return key !== undefined && (since !== undefined || again === true)
}
