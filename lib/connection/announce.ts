// Tells a client of `koaws.v1` that a large message follows.

import { incomingText } from '../protocol/envelope.ts'
import { Frame } from './frame.ts'

/** Smaller messages take 4 seconds at 20 KB/s: less than a ping of a client waits. */
export const ANNOUNCED_ABOVE: number = 72 * 1024

/** Tells a client of `koaws.v1` that a message of so many bytes follows; null where it need not know. */
export function announcementOf(bytes: number): Frame | null {
  return bytes > ANNOUNCED_ABOVE ? Frame.encode(incomingText(bytes), null) : null
}

/** The sending side of one connection. */
interface Sender {
  add(frame: Frame, volatile: boolean): unknown
}

/** Announces a message of `koaws.v1` to one client, if it is large. The message follows at once. */
export function announce(outbox: Sender | null, text: string): void {
  if (text.length * 3 <= ANNOUNCED_ABOVE) return // a UTF-16 unit is 3 bytes at most
  const frame = announcementOf(Buffer.byteLength(text))
  if (frame) outbox?.add(frame, false)
}
