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

type Transport = ServerHttp2Stream & Counted & { bytesRead: number }

/**
 * Give a stream of HTTP/2 what a WebSocket needs of its transport, and a socket has: how much came
 * in, how much the client takes, and an abrupt end that a client sees as one (RFC 8441, section 5).
 * Shared functions on the instance, over the methods that Node documents for implementing streams.
 */
export function asTransport(stream: ServerHttp2Stream): void {
  const transport = stream as Transport
  transport.bytesRead = 0
  transport.taken = 0
  transport.push = push
  transport._write = write
  transport._writev = writev
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
  if (chunk.length <= PART) inner(this)._write.call(this, chunk, encoding, callback)
  else writeParts(this, [bytesOf({ chunk, encoding })], callback)
}

function writev(this: Transport, chunks: Chunk[], callback: Callback): void {
  this.taken++
  let size = 0
  for (const { chunk } of chunks) size += chunk.length
  if (size <= PART) (inner(this)._writev as typeof writev).call(this, chunks, callback)
  else writeParts(this, chunks.map(bytesOf), callback)
}

/** All at once, and each with its own end. */
function writeParts(stream: Transport, chunks: readonly Buffer[], callback: Callback): void {
  const parts = partsOf(chunks)
  let left = parts.length
  let failure: Error | null | undefined
  const done = (error?: Error | null): void => {
    stream.taken++
    failure ??= error
    left--
    if (left === 0) callback(failure)
  }
  for (const part of parts) inner(stream)._write.call(stream, part, BYTES, done)
}

function partsOf(chunks: readonly Buffer[]): Buffer[] {
  const all = chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks)
  const parts: Buffer[] = []
  for (let at = 0; at < all.length; at += PART) parts.push(all.subarray(at, at + PART))
  return parts
}

function bytesOf({ chunk, encoding }: Chunk): Buffer {
  return typeof chunk === 'string' ? Buffer.from(chunk, encoding) : chunk
}

function destroy(this: Transport, error?: Error): Transport {
  if (!this.destroyed && !this.closed && !(this.writableFinished && this.readableEnded)) {
    this.close(CANCEL)
  }
  return inner(this).destroy.call(this, error) as Transport
}
