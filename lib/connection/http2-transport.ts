import type { ServerHttp2Stream } from 'node:http2'
import type { Counted } from './taken.ts'

/**
 * So many bytes are given to HTTP/2 at a time: one DATA frame of the default size (RFC 9113, section
 * 6.5.2). Only a write that is done shows that the client takes something.
 */
const PART = 16 * 1024
/** RFC 9113, section 7. */
const CANCEL = 8
/** How Node names what is no text; its types do not know it. */
const BYTES = 'buffer' as BufferEncoding

type Callback = (error?: Error | null) => void
interface Chunk {
  readonly chunk: Buffer | string
  readonly encoding: BufferEncoding
}

type Transport = ServerHttp2Stream &
  Counted & {
    bytesRead: number
    /** A large write is on its way, in parts. */
    inParts: boolean
    /** `end()` was called meanwhile. */
    endsLater: boolean
  }

/**
 * Have a stream of HTTP/2 count what the client takes of it, before anything is written to it. Shared
 * functions on the instance, over the methods that Node documents for implementing streams.
 */
export function countTaken(stream: ServerHttp2Stream): void {
  const transport = stream as Transport
  transport.taken = 0
  transport.inParts = false
  transport.endsLater = false
  transport._write = write
  transport._writev = writev
  transport.end = end as typeof transport.end
}

/**
 * Give it the rest of what a WebSocket needs of its transport, and a socket has: how much came in,
 * and an abrupt end that a client sees as one (RFC 8441, section 5).
 */
export function asTransport(stream: ServerHttp2Stream): void {
  const transport = stream as Transport
  transport.bytesRead = 0
  transport.push = push
  transport.destroy = destroy
}

/** Node's own methods. */
function inner(stream: Transport): ServerHttp2Stream {
  return Object.getPrototypeOf(stream) as ServerHttp2Stream
}

function push(this: Transport, chunk: Buffer | null, encoding?: BufferEncoding): boolean {
  if (chunk !== null) this.bytesRead += chunk.length
  // Reset with NO_ERROR: Node waits until all is read, and for writes that nobody takes any more.
  else if (this.closed && !this.destroyed) process.nextTick(destroyStream, this)
  return inner(this).push.call(this, chunk, encoding)
}

function destroyStream(stream: Transport): void {
  stream.destroy()
}

function write(
  this: Transport,
  chunk: Buffer | string,
  encoding: BufferEncoding,
  callback: Callback,
): void {
  this.taken++ // what was written before is gone
  if (chunk.length <= PART || this.writableEnded)
    inner(this)._write.call(this, chunk, encoding, callback)
  else writeParts(this, [bytesOf({ chunk, encoding })], callback)
}

function writev(this: Transport, chunks: Chunk[], callback: Callback): void {
  this.taken++
  let size = 0
  for (const { chunk } of chunks) size += chunk.length
  if (size <= PART || this.writableEnded)
    (inner(this)._writev as typeof writev).call(this, chunks, callback)
  else writeParts(this, chunks.map(bytesOf), callback)
}

/** One after the other: Node's streams know one write at a time. */
function writeParts(stream: Transport, chunks: readonly Buffer[], callback: Callback): void {
  const all = chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks)
  let at = 0
  stream.inParts = true
  const next = (error?: Error | null): void => {
    stream.taken++
    if (error || at >= all.length || stream.destroyed) {
      stream.inParts = false
      callback(error) // which may begin another
      if (stream.endsLater && !stream.inParts) {
        stream.endsLater = false
        ;(inner(stream).end as () => void).call(stream)
      }
      return
    }
    const part = all.subarray(at, at + PART)
    at += PART
    inner(stream)._write.call(stream, part, BYTES, next)
  }
  next()
}

function bytesOf({ chunk, encoding }: Chunk): Buffer {
  return typeof chunk === 'string' ? Buffer.from(chunk, encoding) : chunk
}

/** Node would take the part that is written now for the last, and end the stream behind it. */
function end(this: Transport, ...args: unknown[]): Transport {
  while (this.writableCorked > 0) this.uncork()
  if (!this.inParts) return (inner(this).end as typeof end).apply(this, args)
  const callback = args.at(-1)
  if (typeof callback === 'function') this.once('finish', callback as () => void)
  if (typeof args[0] !== 'function' && args[0] != null) this.write(args[0] as Buffer)
  this.endsLater = true
  return this
}

function destroy(this: Transport, error?: Error): Transport {
  if (!this.destroyed && !this.closed && !(this.writableFinished && this.readableEnded)) {
    this.close(CANCEL)
  }
  return inner(this).destroy.call(this, error) as Transport
}
