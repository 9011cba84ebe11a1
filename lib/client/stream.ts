// `client.stream()` and `client.upload()`, without the part that carries them out.
import { assertType, encode } from './envelope.ts'
import type {
  ClientStream,
  Source,
  StreamEngine,
  StreamOptions,
  Streams,
  UploadOptions,
} from './stream-types.ts'

/** `stream()` and `upload()`, without the types of a protocol. */
interface Streamer {
  stream(type: string, data?: unknown, options?: StreamOptions): ClientStream
  upload(
    type: string,
    data: unknown,
    source: Source<unknown>,
    options?: UploadOptions,
  ): Promise<unknown>
}

/** Makes the functions that begin streams. Without `part`, the first call loads it. */
export function createStreamer(engine: StreamEngine, part: Streams | undefined): Streamer {
  let begin: ReturnType<Streams> | undefined

  /** Loads the part. Its timeout, the signal and `client.close()` end the wait, as for a request. */
  const load = (type: string, { timeout = 120_000, signal }: StreamOptions): Promise<unknown> =>
    engine.ask(type, undefined, { timeout, signal }, (item) => {
      import('./streams.ts').then(
        ({ streams }) => item.answer({ type: 'koaws:reply', data: streams, weight: 0 }),
        (error) => item.fail(engine.localError(item, 'NOT_LOADED', `${error}`)),
      )
    })

  const stream = (
    type: string,
    data?: unknown,
    options: StreamOptions = {},
    receives = true,
  ): ClientStream => {
    const request = { type, text: '', options, receives, left: false }
    const started = (async () => {
      assertType(type)
      request.text = encode(type, data)
      begin ??= ((part ?? (await load(type, options))) as Streams)(engine)
      return begin(request)
    })()
    const made: ClientStream = {
      reply: started.then(({ reply }) => reply),
      next: async () => (await started).next(),
      async return() {
        request.left = true
        return (await started).return()
      },
      [Symbol.asyncIterator]: () => made,
    }
    made.reply.catch(ignore)
    return made
  }

  return {
    stream,
    async upload(type, data, source, options) {
      return stream(type, data, { ...options, upload: source }, false).reply
    },
  }
}

function ignore(): void {}
