import { once } from 'node:events'
import { expect } from 'chai'
import { socketPair } from '../../lib/testing/duplex-socket.ts'

describe('a pair of sockets in memory', () => {
  it('passes bytes on in both directions, and ends each by itself', async () => {
    const [client, server] = socketPair()
    client.write('to the server')
    server.write('to the client')
    expect(String((await once(server, 'data'))[0])).to.equal('to the server')
    expect(String((await once(client, 'data'))[0])).to.equal('to the client')
    client.end()
    await once(server, 'end')
    server.write('still')
    expect(String((await once(client, 'data'))[0])).to.equal('still')
  })

  it('holds a writer back while the other end does not read', async () => {
    const [client, server] = socketPair()
    let done = 0
    for (let i = 0; i < 100; i++) client.write(Buffer.alloc(16 * 1024), () => done++)
    for (let i = 0; i < 20; i++) await new Promise(setImmediate)
    expect(done).to.be.below(10)
    server.resume()
    while (done < 100) await new Promise(setImmediate)
  })

  it('ends and destroys the other end when one is destroyed', async () => {
    const [client, server] = socketPair()
    server.resume()
    client.destroy()
    await Promise.all([once(server, 'close'), once(client, 'close')])
    expect(server.destroyed).to.equal(true)
  })

  it('completes a write after the reader is destroyed', async () => {
    const [client, server] = socketPair()
    let done = 0
    for (let i = 0; i < 10; i++) client.write(Buffer.alloc(64 * 1024), () => done++)
    server.on('error', () => {})
    client.on('error', () => {})
    server.destroy()
    await once(client, 'close')
    expect(done).to.equal(10)
  })
})
