import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { createServer as createTlsServer, type TLSSocket, connect as tlsConnect } from 'node:tls'
import { expect } from 'chai'
import { takenOf } from '../../lib/connection/taken.ts'
import { socketPair } from '../../lib/testing/duplex-socket.ts'
import { selfSigned } from '../support/certificate.ts'
import { MIB, pass, until } from '../support/limits.ts'

/** koaws reads undocumented fields of Node here; these tests fail when Node changes them. */
describe('takenOf(): the bytes of a large write that the kernel has taken', () => {
  const open: { destroy(): void }[] = []
  const servers: Server[] = []
  afterEach(() => {
    for (const socket of open.splice(0)) socket.destroy()
    for (const server of servers.splice(0)) server.close()
  })

  async function pair<T extends Socket>(
    server: Server,
    event: string,
    dial: (port: number) => Socket,
    ready: string,
  ): Promise<{ end: T; client: Socket }> {
    servers.push(server)
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const arrived = once(server, event) as Promise<[T]>
    const client = dial((server.address() as AddressInfo).port)
    client.on('error', () => {})
    const [[end]] = await Promise.all([arrived, once(client, ready)])
    end.on('error', () => {})
    open.push(client, end)
    return { end, client }
  }

  /** Writes 32 MiB, lets the peer read it in pieces, and returns each number that was seen. */
  async function watch(end: Socket, client: Socket): Promise<number[]> {
    const total = 32 * MIB
    let read = 0
    let quota = 0
    client.on('data', (chunk) => {
      read += chunk.length
      if (read >= quota) client.pause()
    })
    client.pause()
    const before = takenOf(end) as number
    expect(before).to.be.a('number')
    end.write(Buffer.alloc(total))
    await until(() => (takenOf(end) as number) > before, 'the first bytes')
    const seen: number[] = []
    while (read < total) {
      const taken = (takenOf(end) as number) - before
      if (seen.at(-1) !== taken) seen.push(taken)
      quota = read + MIB
      client.resume()
      await until(() => read >= Math.min(quota, total), 'the piece')
    }
    await until(() => end.writableLength === 0, 'the end')
    // TLS adds about 22 bytes per record of 16 KiB.
    expect((takenOf(end) as number) - before).to.be.within(total, total * 1.01)
    return seen
  }

  function expectRising(seen: number[]): void {
    expect(seen.length, `seen: ${seen}`).to.be.at.least(5)
    expect(seen, 'it only rises').to.deep.equal([...seen].sort((a, b) => a - b))
    expect(seen[0]).to.be.within(1, 31 * MIB)
  }

  it('rises while the peer reads from a net.Socket', async () => {
    const { end, client } = await pair<Socket>(
      createServer(),
      'connection',
      (port) => connect(port, '127.0.0.1'),
      'connect',
    )
    expectRising(await watch(end, client))
  })

  it('rises while the peer reads from a TLSSocket', async () => {
    const { key, cert } = selfSigned()
    const { end, client } = await pair<TLSSocket>(
      createTlsServer({ key: readFileSync(key), cert: readFileSync(cert) }),
      'secureConnection',
      (port) => tlsConnect({ port, host: '127.0.0.1', rejectUnauthorized: false }),
      'secureConnect',
    )
    expectRising(await watch(end, client))
  })

  it('is constant while the peer reads nothing', async () => {
    const { end, client } = await pair<Socket>(
      createServer(),
      'connection',
      (port) => connect(port, '127.0.0.1'),
      'connect',
    )
    client.pause()
    end.write(Buffer.alloc(32 * MIB))
    // Looks are counted, and not time: a process that was not scheduled has seen nothing.
    let before: number | undefined
    for (let looks = 0; looks < 100; looks++) {
      await pass(2)
      if (takenOf(end) !== before) looks = 0
      before = takenOf(end)
    }
    expect(before).to.be.within(1, 31 * MIB)
    await pass(300)
    expect(takenOf(end)).to.equal(before)
  })

  it('is undefined for other streams, and after the end of a socket', async () => {
    expect(takenOf(socketPair()[0])).to.equal(undefined)
    const { end } = await pair<Socket>(
      createServer(),
      'connection',
      (port) => connect(port, '127.0.0.1'),
      'connect',
    )
    end.destroy()
    expect(takenOf(end)).to.equal(undefined)
  })
})
