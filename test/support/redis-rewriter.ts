import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { proxies } from './redis.ts'

/** A port in front of a Redis that changes the commands of its clients. */
export interface RedisRewriter {
  readonly port: number
  /** Makes PUBLISH fail with this error from now on; null ends that. */
  failPublish(error: string | null): void
}

export async function startRewriter(target: number): Promise<RedisRewriter> {
  let failure: string | null = null
  const sockets = new Set<Socket>()
  const rewrite = (words: Buffer[]): Buffer[] =>
    failure !== null && /^publish$/i.test(String(words[0]))
      ? ['EVAL', 'return redis.error_reply(ARGV[1])', '0', failure].map((word) => Buffer.from(word))
      : words
  const server = createServer((socket) => {
    const other = connect(target, '127.0.0.1')
    for (const one of [socket, other]) {
      sockets.add(one)
      one.on('error', () => one.destroy())
      one.on('close', () => sockets.delete(one))
    }
    let rest = Buffer.alloc(0)
    socket.on('data', (data: Buffer) => {
      rest = Buffer.concat([rest, data])
      for (;;) {
        const command = readCommand(rest)
        if (!command) return
        rest = rest.subarray(command.length)
        other.write(written(rewrite(command.words)))
      }
    })
    other.pipe(socket)
    socket.on('close', () => other.destroy())
    other.on('close', () => socket.destroy())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  proxies.add({
    close() {
      for (const socket of sockets) socket.destroy()
      server.close()
    },
  })
  return {
    port: (server.address() as AddressInfo).port,
    failPublish(error) {
      failure = error
    },
  }
}

/**
 * Returns the first command in these bytes (an array of bulk strings), or null while it is
 * incomplete.
 */
function readCommand(bytes: Buffer): { words: Buffer[]; length: number } | null {
  let at = 0
  const number = (): number | null => {
    const end = bytes.indexOf('\r\n', at)
    if (end < 0) return null
    const value = Number(bytes.toString('latin1', at + 1, end))
    at = end + 2
    return value
  }
  const count = number()
  if (count === null) return null
  const words: Buffer[] = []
  for (let i = 0; i < count; i++) {
    const length = number()
    if (length === null || bytes.length < at + length + 2) return null
    words.push(bytes.subarray(at, at + length))
    at += length + 2
  }
  return { words, length: at }
}

function written(words: readonly Buffer[]): Buffer {
  const parts = words.flatMap((word) => [
    Buffer.from(`$${word.length}\r\n`),
    word,
    Buffer.from('\r\n'),
  ])
  return Buffer.concat([Buffer.from(`*${words.length}\r\n`), ...parts])
}
