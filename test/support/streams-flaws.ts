// Wrong variants of streams, which the model must find.
import { StreamClaim } from '../../lib/messages/stream-claim.ts'
import { HeldBytes } from '../../lib/streams/held-bytes.ts'
import { KeptItems } from '../../lib/streams/kept-items.ts'
import { StreamReceiver } from '../../lib/streams/stream-receiver.ts'
import { StreamSender } from '../../lib/streams/stream-sender.ts'

/** The wrong variants, each with what replaces a method, or what happens to texts on the wire. */
export const STREAM_FLAWS = [
  /** The sender forgets an item that the client may not have. */
  'forgets too much',
  /** A resumed stream begins one item earlier. */
  'sends again',
  /** A resumed stream begins one item later. */
  'leaves out',
  /** Bytes are not given back. */
  'holds',
  /** A cancel does not reach the sender. */
  'ignores cancel',
  /** The end of a connection does not reach the sender. */
  'ignores the end',
  /** The end of the items does not reach the handler. */
  'no end',
  /** Credit of the client gets lost. */
  'no credit',
  /** Credit of the server gets lost. */
  'no credit for uploads',
  /** Items arrive twice. */
  'twice',
  /** The answer of a stream gets lost. */
  'no answer',
  /** A stream runs without a claim of its key. */
  'no claim',
] as const

export type StreamFlaw = (typeof STREAM_FLAWS)[number]

/** Returns the texts that arrive in place of one: null for none. */
export type WireFlaw = (text: string, way: 'up' | 'down') => string[] | null

/** Replaces a method. Returns a function that restores it. */
function replace<T extends object, K extends keyof T>(
  prototype: T,
  name: K,
  make: (real: T[K]) => T[K],
): () => void {
  const real = prototype[name]
  prototype[name] = make(real)
  return () => {
    prototype[name] = real
  }
}

/** Makes lib/ wrong in one way. Returns a function that makes it right again. */
export function applyFlaw(flaw: StreamFlaw): () => void {
  const nothing = (): void => {}
  switch (flaw) {
    case 'forgets too much':
      return replace(
        KeptItems.prototype,
        'forget',
        (real) =>
          function (this: KeptItems, end: number) {
            real.call(this, Math.min(this.end, end + 1))
          },
      )
    case 'sends again':
    case 'leaves out':
      return replace(
        StreamSender.prototype,
        'attach',
        (real) =>
          function (this: StreamSender, sink, since, credit) {
            const step = flaw === 'sends again' ? -1 : 1
            return real.call(this, sink, Math.max(0, since + step), credit)
          },
      )
    case 'holds':
      return replace(
        HeldBytes.prototype,
        'add',
        (real) =>
          function (this: HeldBytes, bytes: number) {
            if (bytes > 0) real.call(this, bytes)
          },
      )
    case 'ignores cancel':
      return replace(StreamSender.prototype, 'cancel', () => nothing)
    case 'ignores the end':
      return replace(StreamSender.prototype, 'detach', () => nothing)
    case 'no claim':
      return replace(
        StreamClaim.prototype,
        'isFirst',
        () =>
          async function (this: StreamClaim) {
            this.decide()
            return true
          },
      )
    case 'no end':
      return replace(StreamReceiver.prototype, 'end', () => nothing)
    default:
      return nothing
  }
}

/** Returns what a flaw does to the wire. */
export function wireFlaw(flaw: StreamFlaw | undefined): WireFlaw | undefined {
  const drop =
    (name: string, direction: 'up' | 'down'): WireFlaw =>
    (text, way) =>
      way === direction && text.startsWith(`{"type":"${name}"`) ? null : [text]
  if (flaw === 'no credit') return drop('koaws:credit', 'up')
  if (flaw === 'no credit for uploads') return drop('koaws:credit', 'down')
  if (flaw === 'no answer') return drop('koaws:reply', 'down')
  if (flaw === 'twice')
    return (text) => (text.startsWith('{"type":"koaws:item"') ? [text, text] : [text])
  return undefined
}
