// Frames that wait until a message in parts is whole.

import type { Frame } from './frame.ts'

/** Frames that wait behind a message in parts (RFC 6455, section 5.4). Few connections have any. */
const held = new WeakMap<object, { readonly frames: Frame[]; bytes: number }>()

/** Holds a frame until the message in parts is whole. */
export function holdFrame(outbox: object, frame: Frame): void {
  const waiting = held.get(outbox) ?? { frames: [], bytes: 0 }
  waiting.frames.push(frame)
  waiting.bytes += frame.plain.length
  held.set(outbox, waiting)
}

export function heldBytes(outbox: object): number {
  return held.get(outbox)?.bytes ?? 0
}

/** Takes out the frames that were held, in their order. */
export function releaseFrames(outbox: object): readonly Frame[] {
  const frames = held.get(outbox)?.frames ?? []
  held.delete(outbox)
  return frames
}
