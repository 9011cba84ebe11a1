import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { createServer as createTlsServer, type TLSSocket, connect as tlsConnect } from 'node:tls'
import { expect } from 'chai'
import { takenOf } from '../../lib/connection/taken.ts'
import { socketPair } from '../../lib/testing/duplex-socket.ts'
import { selfSigned } from '../support/certificate.ts'
import { MIB, pass, within } from '../support/limits.ts'

/** What koaws sees of a large write are fields of Node that are not documented: are they still there? */
describe('what the kernel has taken of a large write', function () {
  this.timeout(20_000)
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

  /** Write 32 MiB, let the peer read it in pieces, and keep each number that was seen. */
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
    await pass(300)
    const seen: number[] = []
    while (read < total) {
      const taken = (takenOf(end) as number) - before
      if (seen.at(-1) !== taken) seen.push(taken)
      quota = read + MIB
      client.resume()
      await within(5_000, () => read >= Math.min(quota, total), 'the piece')
    }
    await within(2_000, () => end.writableLength === 0, 'the end')
    // TLS adds its records to it: about 22 bytes for each 16 KiB.
    expect((takenOf(end) as number) - before).to.be.within(total, total * 1.01)
    return seen
  }

  function expectRising(seen: number[]): void {
    expect(seen.length, `seen: ${seen}`).to.be.at.least(5)
    expect(seen, 'it only rises').to.deep.equal([...seen].sort((a, b) => a - b))
    expect(seen[0]).to.be.within(1, 31 * MIB)
  }

  it('rises while the peer reads, on a net.Socket', async () => {
    const { end, client } = await pair<Socket>(
      createServer(),
      'connection',
      (port) => connect(port, '127.0.0.1'),
      'connect',
    )
    expectRising(await watch(end, client))
  })

  it('rises while the peer reads, on a TLSSocket', async () => {
    const { key, cert } = selfSigned()
    const { end, client } = await pair<TLSSocket>(
      createTlsServer({ key: readFileSync(key), cert: readFileSync(cert) }),
      'secureConnection',
      (port) => tlsConnect({ port, host: '127.0.0.1', rejectUnauthorized: false }),
      'secureConnect',
    )
    expectRising(await watch(end, client))
  })

  it('does not change while the peer reads nothing', async () => {
    const { end, client } = await pair<Socket>(
      createServer(),
      'connection',
      (port) => connect(port, '127.0.0.1'),
      'connect',
    )
    client.pause()
    end.write(Buffer.alloc(32 * MIB))
    await pass(500)
    const before = takenOf(end)
    expect(before).to.be.within(1, 31 * MIB)
    await pass(500)
    expect(takenOf(end)).to.equal(before)
  })

  it('is unknown for a stream that is no socket, and after the end of one', async () => {
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
