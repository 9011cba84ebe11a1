// Adds to a stream of HTTP/2 what a WebSocket needs of a socket.

import type { ServerHttp2Stream } from 'node:http2'
import type { Counted } from '../../connection/taken.ts'

/**
 * Bytes per write to HTTP/2: one DATA frame of the default size (RFC 9113, section 6.5.2). Only a
 * completed write shows that the client accepts data.
 */
const PART = 16 * 1024
/** The error code CANCEL (RFC 9113, section 7). */
const CANCEL = 8
/** The encoding of binary chunks in Node's streams, which its types lack. */
const BYTES = 'buffer' as BufferEncoding

type Callback = (error?: Error | null) => void
interface Chunk {
  readonly chunk: Buffer | string
  readonly encoding: BufferEncoding
}

type Transport = ServerHttp2Stream &
  Counted & {
    bytesRead: number
    bytesWritten: number
    /** A large write is being sent in parts. */
    inParts: boolean
    /** `end()` was called during a large write. */
    endsLater: boolean
  }

/**
 * Makes a stream count the writes that the client has accepted. It must run before the first write.
 * It sets shared functions on the instance, over methods that Node documents for stream
 * implementers.
 */
export function countTaken(stream: ServerHttp2Stream): void {
  const transport = stream as Transport
  transport.taken = 0
  transport.bytesWritten = 0
  transport.inParts = false
  transport.endsLater = false
  transport._write = write
  transport._writev = writev
  transport.end = end as typeof transport.end
}

/**
 * Adds the other members that a WebSocket needs: the number of received bytes, and an abrupt end
 * that the client sees as one (RFC 8441, section 5).
 */
export function asTransport(stream: ServerHttp2Stream): void {
  const transport = stream as Transport
  transport.bytesRead = 0
  transport.push = push
  transport.destroy = destroy
}

/** Returns the prototype of the stream, with Node's own methods. */
function inner(stream: Transport): ServerHttp2Stream {
  return Object.getPrototypeOf(stream) as ServerHttp2Stream
}

function push(this: Transport, chunk: Buffer | null, encoding?: BufferEncoding): boolean {
  if (chunk !== null) this.bytesRead += chunk.length
  // After a reset with NO_ERROR Node waits for reads and for writes that can no longer complete.
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
  this.taken++ // the previous write has completed
  this.bytesWritten += chunk.length
  if (chunk.length <= PART || this.writableEnded)
    inner(this)._write.call(this, chunk, encoding, callback)
  else writeParts(this, [bytesOf({ chunk, encoding })], callback)
}

function writev(this: Transport, chunks: Chunk[], callback: Callback): void {
  this.taken++
  let size = 0
  for (const { chunk } of chunks) size += chunk.length
  this.bytesWritten += size
  if (size <= PART || this.writableEnded)
    (inner(this)._writev as typeof writev).call(this, chunks, callback)
  else writeParts(this, chunks.map(bytesOf), callback)
}

/** Writes the parts one after the other, because a Node stream allows one write at a time. */
function writeParts(stream: Transport, chunks: readonly Buffer[], callback: Callback): void {
  const all = chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks)
  let at = 0
  stream.inParts = true
  const next = (error?: Error | null): void => {
    stream.taken++
    if (error || at >= all.length || stream.destroyed) {
      stream.inParts = false
      callback(error) // may start another write
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

/** Node's `end` would treat the current part as the last write, and end the stream after it. */
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
